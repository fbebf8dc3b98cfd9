"""Where everything lies in the store: the one home of its paths.

    requests/<id>/input-<sha256>.jsonl           the operations as they were submitted
    requests/<id>/notify-<nonce>                 the address that is told what becomes of the request
    requests/<id>/plan/plan.json                 written last: which edition of the plan counts, and its numbers
    requests/<id>/plan/<edition>/batches.jsonl   every planned batch, a line each, in the order of their numbers
    requests/<id>/plan/<edition>/index.bin       where batch n lies in it (`activities.manifest.INDEX_ENTRY`)
    requests/<id>/plan/<edition>/refused.jsonl   the results of lines refused, or served from the cache, while planning
    requests/<id>/plan/<edition>/pages/<page>.json
    requests/<id>/titles/<thousand>/<lane>.json
    requests/<id>/journal/<thousand>/<batch>.json
    requests/<id>/results/<thousand>/<batch>.jsonl
    schedules/<id>/input-<sha256>.jsonl          what each occurrence of a schedule takes its request's input from
    cache/<spreadsheet>/edition                  drawn anew by every call that writes there (`activities.cache`)
    cache/<spreadsheet>/<way>/<sent>-<drawn>.json
    fences/<spreadsheet>/alive/<at>-<fence>      a fence that exists since then (ns)
    fences/<spreadsheet>/claims/<fence>          who is going to remove it

Numbers are padded with zeros, so that a listing is in their order, and grouped by the thousand, so that no folder grows large.
"""

from __future__ import annotations

import re
from typing import Final

from headgate.errors import InvalidRequest
from headgate.messages.words import NAME_PATTERN

_NAME: Final = re.compile(NAME_PATTERN)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
#: Answers to reads; the folders below are named by digests.
CACHE_ROOT: Final = "cache"
_DIGITS: Final = 9
_GROUP: Final = 1000


#: The folder of all requests, and that of all schedules.
REQUESTS: Final = "requests"
SCHEDULES: Final = "schedules"


def request_root(request_id: str) -> str:
    """The folder of one request; an id that could leave it is refused."""
    return f"{REQUESTS}/{_checked(request_id)}"


def schedule_root(schedule_id: str) -> str:
    """The folder of one schedule; an id that could leave it is refused."""
    return f"{SCHEDULES}/{_checked(schedule_id)}"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or not name.strip("."):
        raise InvalidRequest(
            f"The request id {name[:140]!r} cannot be used: take 1 to 128 letters, digits and _ . @ - (not dots alone)."
        )
    return name


def input_path(request_id: str, sha256: str) -> str:
    """The submitted operations, named by their content: another input under the same id lies beside it, never over it."""
    return f"{request_root(request_id)}/{_input_name(sha256)}"


def scheduled_input_path(schedule_id: str, sha256: str) -> str:
    """The operations that every occurrence of a schedule hands in."""
    return f"{schedule_root(schedule_id)}/{_input_name(sha256)}"


def _input_name(sha256: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise InvalidRequest(
            f"{sha256[:80]!r} is not a SHA-256 in hexadecimal: store the input first and pass what that returns."
        )
    return f"input-{sha256}.jsonl"


def scheduled_notify_path(schedule_id: str, nonce: str) -> str:
    """The address that is told what becomes of every request of a schedule."""
    return f"{schedule_root(schedule_id)}/notify-{_checked(nonce)}"


def notify_path(request_id: str, nonce: str) -> str:
    """The address that is told what becomes of a request: that of one submission, whoever submits the id again."""
    if not _NAME.fullmatch(nonce):
        raise InvalidRequest("A request that notifies somebody needs a nonce of 1 to 128 letters, digits and _ . @ -.")
    return f"{request_root(request_id)}/notify-{nonce}"


def plan_path(request_id: str) -> str:
    """The record that makes a plan valid."""
    return f"{request_root(request_id)}/plan/plan.json"


def batches_path(request_id: str, edition: str) -> str:
    """Every planned batch of one edition of the plan."""
    return f"{request_root(request_id)}/plan/{edition}/batches.jsonl"


def index_path(request_id: str, edition: str) -> str:
    """Where each batch lies in the batches object."""
    return f"{request_root(request_id)}/plan/{edition}/index.bin"


def refused_path(request_id: str, edition: str) -> str:
    """The results of the lines that were settled while planning: refused, or served from the cache."""
    return f"{request_root(request_id)}/plan/{edition}/refused.jsonl"


def page_path(request_id: str, edition: str, page: int) -> str:
    """One page of the manifest."""
    return f"{request_root(request_id)}/plan/{edition}/pages/{page:0{_DIGITS}d}.json"


def titles_path(request_id: str, lane: int) -> str:
    """The sheet titles that a lane looked up."""
    return f"{request_root(request_id)}/titles/{_numbered(lane)}.json"


def journal_path(request_id: str, number: int) -> str:
    """What was tried for a batch so far."""
    return f"{request_root(request_id)}/journal/{_numbered(number)}.json"


def results_prefix(request_id: str) -> str:
    """The folder of the results, for listing."""
    return f"{request_root(request_id)}/results"


def results_path(request_id: str, number: int) -> str:
    """The result of one batch, written once."""
    return f"{results_prefix(request_id)}/{_numbered(number)}.jsonl"


#: The folder of all fences.
FENCES: Final = "fences"


def fences_prefix(spreadsheet: str) -> str:
    """The folder of the fences that live in a spreadsheet."""
    if not _NAME.fullmatch(spreadsheet) or not spreadsheet.strip("."):
        raise InvalidRequest(
            f"The spreadsheet {spreadsheet[:140]!r} cannot be one: it has 1 to 128 letters, digits and _ . @ -."
        )
    return f"{FENCES}/{spreadsheet}/alive"


def fence_path(spreadsheet: str, at_ns: int, fence_id: int) -> str:
    """One fence; by name the oldest comes first."""
    return f"{fences_prefix(spreadsheet)}/{at_ns:020d}-{fence_id}"


def fence_claim_path(spreadsheet: str, fence_id: int) -> str:
    """Who removes a fence."""
    return f"{fences_prefix(spreadsheet).removesuffix('alive')}claims/{fence_id}"


def batch_number(path: str) -> int:
    """The number in the path of a batch's result, journal or of a lane's titles."""
    return int(path.rpartition("/")[2].partition(".")[0])


def _numbered(number: int) -> str:
    return f"{number // _GROUP:0{_DIGITS - 3}d}/{number:0{_DIGITS}d}"
