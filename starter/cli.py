"""The console script `headgate`: every command by its name, and the one place that turns an error into an exit code.

0  done                                       2  the caller's mistake
1  the request or an operation failed         3  a service could not be reached
130  interrupted                              70  a defect of headgate itself
"""

from __future__ import annotations

import codecs
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Final, NoReturn

import typer
from typer.exceptions import TyperException

from headgate.errors import HeadgateError, InvalidRequest
from starter import (
    auditing,
    fencing,
    limiting,
    looking,
    preview,
    purging,
    scheduling,
    serving,
    steering,
    submitting,
    verifying,
    watching,
)
from starter.surroundings import Surroundings

#: A sign that the output's encoding has not is written as JSON writes it, so that a document stays whole.
_ESCAPED: Final = "headgate.escaped"

DONE: Final = 0
MISTAKE: Final = 2
UNREACHABLE: Final = 3
DEFECT: Final = 70
INTERRUPTED: Final = 130

app = typer.Typer(
    name="headgate",
    help="Bulk requests against quota-limited APIs, never over quota, nothing lost, nothing doubled.",
    epilog="New here? headgate demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("submit")(submitting.submit_command)
app.command("plan")(preview.plan_command)
app.command("status")(looking.status_command)
app.command("watch")(watching.watch_command)
app.command("list")(looking.list_command)
app.command("results")(looking.results_command)
app.command("history")(auditing.history_command)
app.command("pause")(steering.pause_command)
app.command("resume")(steering.resume_command)
app.command("cancel")(steering.cancel_command)
app.command("reprioritise")(steering.reprioritise_command)
app.command("retry-failed")(steering.retry_failed_command)
app.command("purge")(purging.purge_command)
app.add_typer(scheduling.schedules, name="schedules")
app.add_typer(limiting.limiter, name="limiter")
app.add_typer(fencing.fences, name="fences")
app.command("worker")(serving.worker_command)
app.command("bridge")(serving.bridge_command)
app.command("server")(serving.server_command)
app.command("emulator")(serving.emulator_command)
app.command("demo")(serving.demo_command)
app.command("doctor")(serving.doctor_command)
app.command("verify-google")(verifying.verify_google_command)


def main() -> NoReturn:
    """The process ends here and nowhere else.

    `os._exit`, because a short-lived Temporal client crashes in part of its runs while the interpreter finalises
    (temporalio/sdk-python#300): the exit code would be a signal's.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)
    code = run(sys.argv[1:], Surroundings())
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


codecs.register_error(_ESCAPED, _escape)


def run(arguments: Sequence[str], surroundings: Surroundings) -> int:
    """The exit code of one command line; whatever went wrong has been said in one sentence on the standard error."""
    try:
        code = typer.main.get_command(app).main(
            list(arguments), prog_name="headgate", standalone_mode=False, obj=surroundings
        )
        surroundings.out.file.flush()
    except TyperException as error:
        return _said(surroundings, error.format_message(), MISTAKE)
    except InvalidRequest as error:
        return _said(surroundings, str(error), MISTAKE)
    except HeadgateError as error:
        return _said(surroundings, str(error), UNREACHABLE)
    except BrokenPipeError:  # whoever reads has seen enough
        return DONE
    except (KeyboardInterrupt, typer.Abort):
        return _said(surroundings, "interrupted", INTERRUPTED)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich's way of saying the same
            return DONE
        return error.code if isinstance(error.code, int) else DONE if error.code is None else MISTAKE
    except Exception as error:
        if surroundings.environ.get("HEADGATE_DEBUG"):
            traceback.print_exc()
        named = f"{type(error).__name__}: {error}"
        return _said(surroundings, f"a defect of headgate: {named} (HEADGATE_DEBUG=1 shows where)", DEFECT)
    return code if isinstance(code, int) else DONE


def _said(surroundings: Surroundings, sentence: str, code: int) -> int:
    if sentence:
        with suppress(OSError):
            surroundings.say(f"headgate: {' '.join(sentence.replace('Value error, ', '').split())}")
    return code


if __name__ == "__main__":
    main()
