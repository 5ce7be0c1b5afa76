"""The documentation against the project: links, commands, and names of files and settings."""

import re

import pytest
import yaml

from conftest import ROOT
from goodnet.cli import main

PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").replace("\\\n", " ")
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
}
page = pytest.mark.parametrize("name", sorted(PAGES))


def anchors(path):
    """Return the anchors that GitHub gives to a page's headings."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@page
def test_links_lead_somewhere(name):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", PAGES[name]):
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), anchor


@page
def test_commands_exist_with_their_options(name, capsys):
    for command, words in re.findall(r"(?:^ {4}|`)goodnet ([a-z]+)([^`\n]*)", PAGES[name], re.M):
        assert command in main.COMMANDS
        with pytest.raises(SystemExit):
            main.main([command, "--help"])
        offered = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        assert set(re.findall(r"--[a-z-]+", words.split(" #")[0])) <= offered, command


@page
def test_make_has_the_targets(name):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split()
    for words in re.findall(r"(?:^ {4}|`|&& )make ([a-z -]+)", PAGES[name], re.M):
        assert set(words.split()) <= set(targets), words


@page
def test_files_and_settings_that_are_named_exist(name):
    for path in re.findall(r"(?:`|python )((?:stages|tools|tests|docs|\.ci)/[\w./-]+)", PAGES[name]):
        assert (ROOT / path).exists(), path
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for keys in re.findall(r"`(\w+(?:\.\w+)+)(?:: [^`]*)?`", PAGES[name]):
        block, found = keys.split(".")[0], params
        if block in params and block != "nets":  # which nets there are is the user's
            for key in keys.split("."):
                assert key in found, keys
                found = found[key]
