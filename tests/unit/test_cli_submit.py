"""`headgate submit`: what is refused before anything starts, what makes two requests the same, what is printed."""

from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path

import pytest

from headgate.errors import Unreachable
from headgate.message import SECOND_NS
from starter.service import NoWorker
from starter.submitting import new_id
from tests.unit.fake_service import FakeService, Ran, lines, one_sentence, ran, view

ROW = {"id": "a", "op": "append", "spreadsheet": "s", "range": "A:B", "values": [["x"]]}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HEADGATE_STORE": str(tmp_path / "store")}


@pytest.fixture
def operations(tmp_path: Path) -> Path:
    file = tmp_path / "orders.jsonl"
    file.write_bytes(lines(ROW, {**ROW, "id": "b"}))
    return file


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    file = tmp_path / "credentials.toml"
    file.write_text('[users.ana]\ntype = "static_token"\ntoken = "very-secret"\n')
    file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return file


def test_json_is_the_two_ids_and_nothing_else(operations: Path, environ: dict[str, str]) -> None:
    service = FakeService()
    found = ran("submit", operations, "--project", "p", "--id", "r7", "--json", service=service, environ=environ)
    assert (found.code, found.documents, found.err) == (0, [{"id": "r7", "workflow_id": "bulk/r7"}], "")
    request = service.submitted["r7"]
    assert (request.project, request.priority, request.order, request.operations_per_call) == ("p", "normal", "lane", 0)
    assert len(request.input_sha256) == 64
    assert len(request.nonce) == 16
    assert service.summaries == ["orders.jsonl · 2 lines · project p"]


def test_the_same_twice_is_one_request(operations: Path, environ: dict[str, str]) -> None:
    service = FakeService()
    arguments = ("submit", operations, "--project", "p", "--id", "r7", "--json")
    first = ran(*arguments, service=service, environ=environ)
    second = ran(*arguments, service=service, environ=environ)
    assert (first.code, second.code) == (0, 0)
    assert first.out == second.out


@pytest.mark.parametrize(
    "other",
    [("--project", "q"), ("--user", "bob"), ("--order", "strict"), ("--operations-per-call", "1")],
)
def test_other_content_under_the_same_id_is_a_mistake(
    operations: Path, environ: dict[str, str], other: tuple[str, str]
) -> None:
    service = FakeService()
    ran("submit", operations, "--project", "p", "--id", "r7", service=service, environ=environ)
    found = ran("submit", operations, "--project", "p", "--id", "r7", *other, service=service, environ=environ)
    assert found.code == 2
    assert one_sentence(found.err)


@pytest.mark.parametrize("same", [("--priority", "urgent"), ("--owner", "team-9"), ("--max-age", "60")])
def test_priority_owner_and_age_do_not_make_it_another(
    operations: Path, environ: dict[str, str], same: tuple[str, str]
) -> None:
    service = FakeService()
    ran("submit", operations, "--project", "p", "--id", "r7", service=service, environ=environ)
    found = ran("submit", operations, "--project", "p", "--id", "r7", *same, service=service, environ=environ)
    assert found.code == 0


def test_the_age_that_reads_may_have_is_handed_over(operations: Path, environ: dict[str, str]) -> None:
    service = FakeService()
    ran("submit", operations, "--project", "p", "--id", "r7", "--max-age", "90", service=service, environ=environ)
    assert service.submitted["r7"].max_age_ns == 90 * SECOND_NS


def test_a_dash_is_the_standard_input(environ: dict[str, str]) -> None:
    found = ran("submit", "-", "--project", "p", "--json", environ=environ, stdin=lines(ROW))
    assert found.code == 0


def refused(*arguments: str | Path, environ: dict[str, str], stdin: bytes = b"") -> Ran:
    service = FakeService()
    found = ran("submit", *arguments, service=service, environ=environ, stdin=stdin)
    assert not service.submitted
    assert one_sentence(found.err), found.err
    assert found.out == ""
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ("-", "--project", "p/q"),
        ("-", "--project", "p", "--id", "../r"),
        ("-", "--project", "p", "--id", ""),
        ("-", "--project", "p", "--user", "a b"),
        ("-", "--project", "p", "--priority", "hurry"),
        ("-", "--project", "p", "--order", "random"),
        ("-", "--project", "p", "--operations-per-call", "-1"),
        ("-", "--project", "p", "--max-age", "3601"),
        ("-", "--project", "p", "--max-age", "nan"),
        ("-", "--project", "p", "--unheard-of"),
        ("-",),
        (),
    ],
)
def test_what_cannot_be_is_a_mistake(environ: dict[str, str], arguments: tuple[str, ...]) -> None:
    assert refused(*arguments, environ=environ, stdin=lines(ROW)).code == 2


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path, environ: dict[str, str]) -> None:
    assert refused(tmp_path / "none.jsonl", "--project", "p", environ=environ).code == 2


def test_a_folder_is_a_mistake(tmp_path: Path, environ: dict[str, str]) -> None:
    assert refused(tmp_path, "--project", "p", environ=environ).code == 2


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_an_empty_input_is_a_mistake(environ: dict[str, str], content: bytes) -> None:
    assert refused("-", "--project", "p", environ=environ, stdin=content).code == 2


def test_an_unknown_user_is_a_mistake_and_no_secret_is_said(
    operations: Path, environ: dict[str, str], credentials: Path
) -> None:
    environ["HEADGATE_CREDENTIALS"] = str(credentials)
    found = refused(operations, "--project", "p", "--user", "bob", environ=environ)
    assert found.code == 2
    assert "ana" in found.err
    assert "very-secret" not in found.err


def test_the_only_user_stands_for_lines_that_name_none(
    operations: Path, environ: dict[str, str], credentials: Path
) -> None:
    service = FakeService()
    environ["HEADGATE_CREDENTIALS"] = str(credentials)
    assert ran("submit", operations, "--project", "p", "--id", "r7", service=service, environ=environ).code == 0
    assert service.submitted["r7"].user == "ana"
    assert "very-secret" not in service.submitted["r7"].model_dump_json()


@pytest.mark.parametrize("content", ["[users", 'users = "ana"'])
def test_a_credentials_file_that_cannot_be_read_is_a_mistake(
    operations: Path, environ: dict[str, str], tmp_path: Path, content: str
) -> None:
    file = tmp_path / "broken.toml"
    file.write_text(content)
    environ["HEADGATE_CREDENTIALS"] = str(file)
    assert refused(operations, "--project", "p", environ=environ).code == 2


def test_a_server_out_of_reach_is_said(operations: Path, environ: dict[str, str]) -> None:
    found = ran("submit", operations, "--project", "p", service=Unreachable("nobody there"), environ=environ)
    assert (found.code, found.err) == (3, "headgate: nobody there\n")


def test_waiting_ends_well_when_everything_succeeded(operations: Path, environ: dict[str, str]) -> None:
    service = FakeService([view("running", succeeded=1), view()])
    found = ran("submit", operations, "--project", "p", "--wait", "--json", service=service, environ=environ)
    assert found.code == 0
    assert len(found.documents) == 1


@pytest.mark.parametrize("last", [view("failed", succeeded=0), view(succeeded=2, failed=1)])
def test_waiting_tells_what_failed_by_its_exit_code(operations: Path, environ: dict[str, str], last: object) -> None:
    service = FakeService([last])  # type: ignore[list-item]
    assert ran("submit", operations, "--project", "p", "--wait", service=service, environ=environ).code == 1


def test_a_worker_that_is_away_for_a_moment_does_not_end_the_wait(operations: Path, environ: dict[str, str]) -> None:
    service = FakeService([NoWorker(), view("running", succeeded=1), NoWorker(), view()])
    found = ran("submit", operations, "--project", "p", "--wait", service=service, environ=environ)
    assert found.code == 0
    assert found.err.count("No worker answers") == 2


TABLE = ("--spreadsheet", "s", "--sheet", "Data")


def stored(environ: dict[str, str], request_id: str) -> bytes:
    """The one input of the request in its store."""
    (file,) = Path(environ["HEADGATE_STORE"], "requests", request_id).iterdir()
    return file.read_bytes()


def test_gzip_is_stored_unpacked_whatever_its_name(tmp_path: Path, environ: dict[str, str]) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_bytes(gzip.compress(lines(ROW)))
    service = FakeService()
    assert ran("submit", file, "--project", "p", "--id", "r7", service=service, environ=environ).code == 0
    assert stored(environ, "r7") == lines(ROW)
    assert (
        ran("submit", "-", "--project", "p", "--id", "r7", service=service, environ=environ, stdin=lines(ROW)).code == 0
    )


@pytest.mark.parametrize("table", [(), TABLE])
@pytest.mark.parametrize("kept", [40, -1])
def test_gzip_that_is_cut_off_starts_nothing(
    tmp_path: Path, environ: dict[str, str], table: tuple[str, ...], kept: int
) -> None:
    file = tmp_path / "orders.gz"
    file.write_bytes(gzip.compress(b"id,sum\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(200)))[:kept])
    found = refused(file, "--project", "p", "--id", "r7", *table, environ=environ)
    assert found.code == 2
    assert "orders.gz is gzip that is cut off" in found.err
    assert not list(Path(environ["HEADGATE_STORE"]).rglob("*.*"))


def test_csv_is_stored_as_operations(tmp_path: Path, environ: dict[str, str]) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("id,sum\n007,12.5\n", encoding="utf-8")
    service = FakeService()
    found = ran("submit", file, "--project", "p", "--id", "r7", *TABLE, service=service, environ=environ)
    assert (found.code, service.summaries) == (0, ["orders.csv · 1 lines · project p"])
    row = {"id": "row-2", "op": "append", "spreadsheet": "s", "range": "Data!A:B", "values": [["007", 12.5]]}
    assert [json.loads(line) for line in stored(environ, "r7").splitlines()] == [row]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--spreadsheet ID --sheet TITLE"),
        (("--sheet", "Data"), "add --spreadsheet"),
        (("--mode", "replace"), "add --spreadsheet"),
        (("--spreadsheet", "s"), "add --sheet"),
        (("--spreadsheet", "a/b", "--sheet", "Data"), "--spreadsheet 'a/b'"),
        ((*TABLE, "--types", "sum=money"), "NAME=KIND"),
        ((*TABLE, "--types", "total=number"), "'total' is no column"),
        ((*TABLE, "--delimiter", "||"), "--delimiter"),
        ((*TABLE, "--delimiter", "tab", "--types", "id=number"), "'id' is no column; the header has id,sum"),
        ((*TABLE, "--mode", "upsert"), "upsert"),
    ],
)
def test_csv_without_its_place_is_a_mistake(
    tmp_path: Path, environ: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("id,sum\n007,12.5\n", encoding="utf-8")
    found = refused(file, "--project", "p", *arguments, environ=environ)
    assert found.code == 2
    assert says in found.err


def test_drawn_ids_sort_by_time_and_can_be_ids() -> None:
    drawn = [new_id(now) for now in (0, 86_400, 1_800_000_000)]
    assert drawn == sorted(drawn)
    assert all(name.replace("-", "").isalnum() and len(name) < 24 for name in drawn)


@pytest.mark.parametrize(
    ("arguments", "variables", "wanted"),
    [
        ((), {}, (0, False, True)),
        (("--stop-after", "20", "--grow"), {}, (20, True, True)),
        ((), {"HEADGATE_FENCES": "off"}, (0, False, False)),
    ],
)
def test_what_a_request_may_do_is_in_it(
    operations: Path,
    environ: dict[str, str],
    arguments: tuple[str, ...],
    variables: dict[str, str],
    wanted: tuple[int, bool, bool],
) -> None:
    service = FakeService()
    asked = ("--project", "p", "--id", "r7", *arguments)
    assert ran("submit", operations, *asked, service=service, environ=environ | variables).code == 0
    request = service.submitted["r7"]
    assert (request.stop_after, request.grow, request.fences) == wanted


def test_a_setting_for_fences_that_means_nothing_is_a_mistake(operations: Path, environ: dict[str, str]) -> None:
    found = ran("submit", operations, "--project", "p", environ=environ | {"HEADGATE_FENCES": "perhaps"})
    assert found.code == 2
    assert "HEADGATE_FENCES" in found.err


HOOK = "https://hooks.example/in-the-address?token=x"


def test_who_is_told_lies_in_the_store_and_the_request_names_the_key(operations: Path, environ: dict[str, str]) -> None:
    service = FakeService()
    asked = ("--project", "p", "--id", "r7", "--notify", HOOK)
    found = ran("submit", operations, *asked, service=service, environ=environ)
    assert found.code == 0
    request = service.submitted["r7"]
    assert request.notify == "default"
    assert "in-the-address" not in request.model_dump_json() + found.out + found.err
    kept = Path(environ["HEADGATE_STORE"], "requests", "r7", f"notify-{request.nonce}")
    assert kept.read_text() == HOOK


def test_without_an_address_nobody_is_told(operations: Path, environ: dict[str, str]) -> None:
    service = FakeService()
    assert ran("submit", operations, "--project", "p", "--id", "r7", service=service, environ=environ).code == 0
    assert service.submitted["r7"].notify == ""
    assert len(list(Path(environ["HEADGATE_STORE"], "requests", "r7").iterdir())) == 1


def test_the_same_request_with_another_address_is_the_same(operations: Path, environ: dict[str, str]) -> None:
    """It tells whom it told before."""
    service = FakeService()
    asked = ("submit", operations, "--project", "p", "--id", "r7", "--notify")
    assert ran(*asked, HOOK, service=service, environ=environ).code == 0
    assert ran(*asked, "https://other.example", service=service, environ=environ).code == 0
    kept = Path(environ["HEADGATE_STORE"], "requests", "r7", f"notify-{service.submitted['r7'].nonce}")
    assert kept.read_text() == HOOK


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--notify", "http://hooks.example/in-the-address"), "--notify must start with https://"),
        (("--notify", "hooks.example/in-the-address"), "--notify is not an address"),
        (("--notify", "https://ana:in-the-address@hooks.example"), "take them out"),
        (("--notify", "https://hooks.example/#in-the-address"), "take them out"),
        (("--notify", "https://10.0.0.1/in-the-address"), "not public"),
        (("--notify", "https://[fd00::1]/in-the-address"), "not public"),
        (("--notify", "https://[::ffff:10.0.0.1]/in-the-address"), "not public"),
        (("--notify", "https://169.254.169.254/in-the-address"), "not public"),
        (("--notify", "https://2130706433/in-the-address"), "not public"),
        (("--notify", "https://127.1/in-the-address"), "not public"),
        (("--notify", "https://localhost/in-the-address"), "HEADGATE_NOTIFY_LOOPBACK=1"),
        (("--notify", "http://127.0.0.1:9/in-the-address"), "HEADGATE_NOTIFY_LOOPBACK=1"),
        (("--notify", "https://hooks.example/" + "x" * 2048), "more than 2048"),
        (("--notify", "https://hooks.example/\x7fin-the-address"), "cannot be used"),
        (("--notify", HOOK, "--notify-key", "../x"), "--notify-key"),
        (("--notify-key", "ops"), "add --notify URL"),
    ],
)
def test_an_address_that_can_never_be_told_is_a_mistake(
    environ: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    """It starts nothing, stores nothing, and is not repeated: it may hold a secret."""
    found = refused("-", "--project", "p", *arguments, environ=environ, stdin=lines(ROW))
    assert found.code == 2
    assert says in found.err
    assert "in-the-address" not in found.err
    assert not list(Path(environ["HEADGATE_STORE"]).rglob("*"))


def test_where_the_keys_are_in_reach_the_one_that_is_named_must_be_there(
    operations: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    environ["HEADGATE_NOTIFY_KEYS"] = str(keys)
    asked = (operations, "--project", "p", "--notify", HOOK, "--notify-key", "ops")
    assert "there is no key 'ops' to sign with; there are: none" in refused(*asked, environ=environ).err
    (keys / "ops.key").write_text("very secret very secret")
    (keys / "ops.hosts").write_text("other.example\n")
    assert "it is for other.example" in refused(*asked, environ=environ).err
    (keys / "ops.hosts").write_text("other.example\nHooks.Example\n")
    service = FakeService()
    assert ran("submit", *asked, "--id", "r7", service=service, environ=environ).code == 0
    assert service.submitted["r7"].notify == "ops"


def test_a_receiver_on_this_machine_is_for_tests(operations: Path, environ: dict[str, str]) -> None:
    environ["HEADGATE_NOTIFY_LOOPBACK"] = "1"
    for url in ("http://127.0.0.1:9/x", "http://hooks.localhost:9"):
        assert ran("submit", operations, "--project", "p", "--notify", url, environ=environ).code == 0
    for url in ("http://10.0.0.1/x", "https://10.0.0.1/x"):
        refused(operations, "--project", "p", "--notify", url, environ=environ)
