"""What the documents say about the command line is true: every command is described, every command line can be parsed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner

from headgate.errors import InvalidRequest
from headgate.settings import Settings
from starter.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SERVING = {"worker", "server", "emulator"}


def commands(group: TyperGroup | None = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command by the words that call it."""
    found = group or typer.main.get_command(app)
    assert isinstance(found, TyperGroup)
    for name, command in found.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


COMMANDS = list(commands())


def help_of(path: tuple[str, ...]) -> str:
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "300", "NO_COLOR": "1"})
    assert result.exit_code == 0
    return result.output


def shell_lines() -> Iterator[tuple[str, str]]:
    """Every line of a shell block that calls headgate, and every `headgate …` in running text, by document."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines() if line.startswith("headgate ")]
        lines += re.findall(r"`(headgate [^`\n]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        for line in lines:
            yield document.name, line


def test_there_is_something_to_check() -> None:
    assert len(list(shell_lines())) > 20
    assert len(COMMANDS) > 17


def test_every_picture_is_there_and_shown_and_small() -> None:
    shown = {
        (document.parent / link).resolve()
        for document in DOCUMENTS
        for link in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", document.read_text(encoding="utf-8"))
    }
    assert shown == {file for file in (ROOT / "docs" / "pictures").iterdir() if file.suffix in (".png", ".svg")}
    assert all(picture.stat().st_size < 200_000 for picture in shown)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_that_can_be_parsed(path: tuple[str, ...]) -> None:
    found = re.search(r"Example:(.*)", help_of(path))
    assert found, "no example"
    words = shlex.split(found.group(1).strip(" │"))
    while "=" in words[0]:
        words = words[1:]
    assert words[: len(path) + 1] == ["headgate", *path]
    parsed(" ".join(words).partition(" > ")[0])


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_is_in_the_readme(path: tuple[str, ...]) -> None:
    assert f"`headgate {' '.join(path)}`" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [path for path in COMMANDS if path[0] not in SERVING], ids=" ".join)
def test_every_command_that_answers_can_answer_in_json(path: tuple[str, ...]) -> None:
    assert "--json" in help_of(path)


@pytest.mark.parametrize(("document", "line"), list(shell_lines()))
def test_every_command_line_in_the_documents_can_be_parsed(document: str, line: str) -> None:
    parsed(line)


def parsed(line: str) -> None:
    """Raises where the command line has a word that headgate does not know."""
    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app)
    while isinstance(command, TyperGroup) and words:
        if words[0].startswith("--"):
            assert words[0] in {option for parameter in command.params for option in parameter.opts}
            return
        assert words[0] in command.commands, f"{words[0]} is no command"
        command = command.commands[words.pop(0)]
    if words:  # otherwise a command that running text names
        command.make_context("headgate", words)


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_variable_in_the_documents_is_one() -> None:
    """A variable that nobody reads would be a promise that nobody keeps."""
    read_by = ("headgate/**/*.py", "starter/**/*.py", "supabase/functions/_shared/*.ts", "tests/supabase/**/*.py")
    code = "".join(file.read_text(encoding="utf-8") for some in read_by for file in ROOT.glob(some))
    for document in DOCUMENTS:
        for name in set(re.findall(r"HEADGATE_[A-Z_]+", document.read_text(encoding="utf-8"))):
            assert f'"{name}"' in code, f"{document.name}: {name}"


def test_the_address_of_the_readmes_emulator_is_allowed() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    urls = set(re.findall(r"HEADGATE_SHEETS_URL=(\S+)", readme))
    assert urls
    for url in urls:
        assert Settings.from_environ({"HEADGATE_SHEETS_URL": url}).sheets_url == url
    with pytest.raises(InvalidRequest):
        Settings.from_environ({"HEADGATE_SHEETS_URL": "http://example.com"})
