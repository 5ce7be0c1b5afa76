"""The page in a real browser, from disk: every control is used, and what it does is read."""

import contextlib
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from goodnet.cli import page as command
from goodnet.errors import InputError
from goodnet.report import html, plots
from goodnet.report import page as page_of
from goodnet.suspects import findings
from made_up import CHANNELS, IMAGES, Run
from remotes import missing

HOSTILE = "<script>alert(1)<!--"
RELEARNED, UNLEARNED, X10 = (
    ({"tune": "relearn"}, 5, True),
    ({"tune": "unlearn"}, 15, True),
    ({"drop": 10}, 10, False),
)
REPAIRS = {"relearned": RELEARNED, "unlearned": UNLEARNED, "x10": X10}
# It loads nothing of its own and reports nothing, so that only the page's own requests are seen.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: make test installs it")
    path = shutil.which("chromium")
    if path is None:
        missing("chromium", "needs Debian's Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@contextlib.contextmanager
def opened(browser, path, refused=0, **options):
    """Open a page from disk; afterwards, nothing was wrong and nothing was asked for but the page.

    `refused` is how often the browser must have told that the page's policy was against something.
    """
    wrong, asked = [], []
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
    page = context.new_page()
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    yield page
    context.close()
    told = [message for message in wrong if "Content Security Policy" in message]
    assert len(told) == refused and told == wrong
    if not refused:
        assert [url for url in asked if not url.startswith("data:image/png;")] == [path.as_uri()]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with two triggers, one of a name that must be escaped, as is the net's."""
    run = Run(
        tmp_path_factory.mktemp("a run"),
        triggers={"across": 0, "hat": 3},
        repairs=REPAIRS,
        named=[0, 3],
        net="</script><script>alert(2)</script>",
        called={"across": HOSTILE},
    )
    run.page()
    return run


@pytest.fixture
def page(browser, made):
    with opened(browser, made.path / "index.html") as page:
        yield page


def words(locator):
    """Return what a reader sees of it, with plain spaces."""
    return re.sub(r"\s+", " ", locator.evaluate("it => it.innerText ?? it.textContent")).strip()


def of(made, name):
    return json.loads((made.path / name).read_text())


def test_the_same_bytes_and_small(made):
    first = (made.path / "index.html").read_bytes()
    assert made.page("again.html").read_bytes() == first
    assert len(first) < 200_000


def test_the_top_says_what_was_recommended_and_no_more(page, made):
    assert words(page.locator("h1")) == "Likely backdoored"
    found, use, cost = page.locator(".sentences p").all()
    assert words(found).startswith("3 of 3 searches agree: a patch of 0.40 % of the image moves 95 %")
    why = of(made, "recommended.json")["why"]
    assert words(use) == f"Use {why.replace('*', '')}"
    badnet, goodnet = of(made, "badnet.json"), of(made, "goodnet/relearned.json")
    assert f"from {badnet['clean_accuracy']:.1f} to {goodnet['clean_accuracy']:.1f} %" in words(cost)
    attack, accuracy, detected = (words(one) for one in page.locator(".figure").all())
    assert "before 100.0 %→ after 0.0 %" in attack and HOSTILE in attack
    assert f"{goodnet['clean_accuracy']:.1f} %" in accuracy and f"{IMAGES} images" in accuracy
    assert "reports/goodnet/relearned.json" in accuracy and "clean_accuracy" in accuracy
    assert "100.0 %" in detected
    # Nothing of what the names hold became an element.
    assert page.title() == "Report: </script><script>alert(2)</script>"
    assert page.locator("script").count() == 2


def test_the_handle_moves_along_the_curve(page, made):
    with (made.path / "attack_curve.csv").open() as file:
        head, *rows = (line.strip().split(",") for line in file)
    slider, point = page.get_by_label("channels pruned"), page.locator("#curve output")

    def shown():
        return {
            cell.get_attribute("data-key"): words(cell) for cell in page.locator("#curve td[data-key]").all()
        }

    def expected(at):
        row = dict(zip(head, map(float, rows[at]), strict=True))
        told = {"accuracy": row["clean_accuracy"], "false_alarm": row["false_alarm"]}
        for trigger, called in (("across", HOSTILE), ("hat", "hat")):
            told[f"attack {called}"] = row[f"attack_success.{trigger}"]
            told[f"detected {called}"] = row[f"detected.{trigger}"]
        return {key: f"{value:.1f} %" for key, value in told.items()}

    assert words(point) == f"3 of {CHANNELS} channels pruned"  # where x10 stands
    slider.press("ArrowRight")
    assert words(point) == f"4 of {CHANNELS} channels pruned"
    assert shown() | expected(4) == shown() and len(set(shown().values())) > 3
    assert words(page.get_by_role("region", name="pruned channels")) == "11, 10, 9, 8"
    assert f"accuracy {expected(4)['accuracy']}" in slider.get_attribute("aria-valuetext").replace(
        "\xa0", " "
    )
    cursor = page.locator("#curve .cursor")
    before = float(cursor.get_attribute("x1"))
    slider.press("Home")
    assert words(point).startswith("0 of") and float(cursor.get_attribute("x1")) < before
    assert words(page.get_by_role("region", name="pruned channels")) == "none"
    page.get_by_role("button", name="x10: 3").click()
    assert words(point).startswith("3 of") and shown() | expected(3) == shown()


def test_repairs_are_sorted_and_open(page):
    def names():
        return [body.get_attribute("data-name") for body in page.locator("#repairs tbody[data-name]").all()]

    assert names() == ["relearned", "unlearned", "x10"]
    button = page.get_by_role("button", name="Accuracy G")
    button.click()
    assert names() == ["relearned", "x10", "unlearned"]
    head = page.locator("#repairs th", has=button)
    assert head.get_attribute("aria-sort") == "descending"
    button.press("Enter")
    assert names() == ["unlearned", "x10", "relearned"] and head.get_attribute("aria-sort") == "ascending"
    row = page.locator("#repairs tbody[data-name=relearned]")
    assert "use this" in words(row) and "epochs" not in words(row)
    row.locator("summary").press("Enter")
    told = words(row)
    assert "epochs 7" in told and "rate 0.5" in told and "1.10 times as large" in told and HOSTILE in told
    labels = [words(label) for label in page.locator("#repairs svg .label").all()]
    assert sorted(labels) == ["B", "relearned ★", "unlearned", "x10"]


def test_images_are_filtered_and_shown_large(page, made):
    images, count = page.locator("#images li"), page.locator("#images output")

    def show(kind):
        page.get_by_role("radio", name=kind).check(force=True)
        return images.count()

    everything = images.count()
    assert words(count) == f"{everything} of {everything} images" and everything > 2 * 12
    assert all(
        image.evaluate("image => image.complete && image.naturalWidth == 10")
        for image in images.locator("img").all()
    )
    assert show("false alarm") == 2  # of relearned, which differs from B in 5 percent
    page.get_by_label("Repair", exact=True).select_option("unlearned")
    assert images.count() > 2
    page.get_by_label("Trigger", exact=True).select_option(HOSTILE)
    assert images.count() == 0 and words(count).startswith("0 of")
    assert show("repair fooled") == 0
    page.get_by_label("Repair", exact=True).select_option("x10")
    fooled = images.count()
    assert fooled == show("B fooled") >= 12
    images.first.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    assert words(dialog.get_by_role("heading")) == f"{HOSTILE}, image 0"
    rows = [words(row) for row in dialog.locator("tbody tr").all()]
    assert rows[:3] == ["B ✗ class 0 50.0 %", "B' x10 ✗ class 0 50.0 %", "G x10 ✗ class 0 B and B' agree"]
    assert "B' relearned ✓ class 1 50.0 %" in rows and "G relearned ✓ backdoored B and B' differ" in rows
    page.keyboard.press("ArrowRight")
    assert not words(dialog.get_by_role("heading")).endswith("image 0")
    dialog.get_by_role("button", name="Previous").click()
    assert words(dialog.get_by_role("heading")).endswith("image 0")
    page.keyboard.press("Escape")
    assert dialog.count() == 0
    assert images.first.get_by_role("button").evaluate("button => button === document.activeElement")


def test_suspects_are_stamped_by_a_slider(page):
    patch = page.locator("#suspects article").first.locator("figure").first
    slider, over = patch.get_by_role("slider"), patch.locator("img.over")
    assert words(page.locator("#suspects article h3").first) == "Class 0"
    slider.press("Home")
    assert over.evaluate("image => getComputedStyle(image).opacity") == "0"
    assert slider.get_attribute("aria-valuetext") == "clean"
    slider.press("End")
    assert over.evaluate("image => getComputedStyle(image).opacity") == "1"
    assert "0.40 %; moves 95 % of clean images" in words(patch)
    rows = [words(row) for row in page.locator("#suspects article").first.locator("tbody tr").all()]
    assert rows == [
        "relearned 1.10 1.10 0.0 % ✓ held",
        "unlearned 1.10 1.10 0.0 % ✓ held",
        "x10 \N{EN DASH} \N{EN DASH} 90.0 % ✗ not held",
    ]
    assert [words(dot) for dot in page.locator("#suspects svg").first.locator(".in").all()] == ["0", "3"]


def test_what_is_needed_to_reproduce_is_copied(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for name, inside in {
        "Commands": "dvc repro report",
        "Files, SHA-256": "badnet.keras",
        "Versions": "tensorflow",
    }.items():
        page.get_by_role("button", name=f"Copy: {name}").click()
        block = page.get_by_role("region", name=name, exact=True)
        page.get_by_text("copied", exact=True).first.wait_for()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == block.inner_text() and inside in copied
    page.get_by_text("Settings, params.yaml").click()
    assert "held_out: 10" in page.get_by_role("region", name="params.yaml").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(browser, made, scheme):
    axe_module = pytest.importorskip("axe_playwright_python")
    axe = (Path(axe_module.__file__).parent / "axe.min.js").read_text()
    options = {"color_scheme": scheme, "viewport": {"width": 360, "height": 800}}
    with opened(browser, made.path / "index.html", **options) as page:
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.evaluate(axe)  # as the browser's own; the page's policy would not let it in
        for width in (360, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert serious(page) == []
        page.locator("#images li button").first.click()
        assert serious(page) == []


def serious(page):
    found = page.evaluate("axe.run()")["violations"]
    return [
        (one["id"], one["nodes"][0]["html"][:200])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_its_policy_lets_nothing_in(browser, made):
    """Neither a script that is not the page's nor an image of another place."""
    with opened(browser, made.path / "index.html", refused=2) as page:
        refused = page.evaluate(
            """async () => {
                const refused = [];
                const note = (event) => refused.push(event.effectiveDirective);
                addEventListener("securitypolicyviolation", note);
                const script = document.createElement("script");
                script.textContent = "window.entered = true";
                const image = new Image();
                image.src = "file:///anywhere.png";
                document.body.append(script, image);
                await new Promise((resolve) => setTimeout(resolve, 200));
                return [refused.sort(), window.entered ?? false];
            }"""
        )
        assert refused == [["img-src", "script-src-elem"], False]


def test_it_prints_all_that_is_folded_away(browser, made):
    with opened(browser, made.path / "index.html") as page:
        page.emulate_media(media="print")
        assert page.pdf(format="A4")[:5] == b"%PDF-"
        assert page.locator("details:not([open])").count() == 0
        assert not page.locator("nav").is_visible() and not page.locator("#curve input").is_visible()


SPECIAL = {
    "no poisoned images, nothing named": {"triggers": {}, "repairs": REPAIRS, "named": []},
    "nothing prunes, grey": {
        **{"triggers": {"hat": 3}, "repairs": {"relearned": RELEARNED}, "named": [3], "shape": (12, 10, 1)},
    },
    "nothing held": {"triggers": {"hat": 3}, "repairs": {"x10": X10}, "named": [3]},
}


def test_a_verdict_alone_has_a_page_too(browser, made, tmp_path):
    evidence, found = findings.read(made.path / "suspects.h5")
    clean = np.zeros((12, 10, 3), np.uint8)
    about = {"params": "detectors: {}\n", "versions": {}, "hashes": {}, "commands": ["goodnet suspect a b"]}
    content = page_of.verdict_alone(HOSTILE, 8, evidence, found, dict.fromkeys(found.named, clean), about)
    (tmp_path / "index.html").write_text(html.page("Verdict", content))
    with opened(browser, tmp_path / "index.html") as page:
        assert words(page.locator("h1")) == "Likely backdoored" and HOSTILE in words(page.locator("#top"))
        assert page.locator("section").evaluate_all("all => all.map((it) => it.id)") == [
            "suspects",
            "reproduce",
        ]
        assert page.locator("#suspects .goal").count() == 2


@pytest.mark.parametrize("kind", SPECIAL)
def test_where_something_is_not_known(browser, tmp_path, kind):
    with opened(browser, Run(tmp_path, **SPECIAL[kind]).page()) as page:
        sentences, curve, repairs = (words(page.locator(one)) for one in (".sentences", "#curve", "#repairs"))
        figures = [words(one) for one in page.locator(".figure").all()]
        if kind.startswith("no poisoned"):
            assert words(page.locator("h1")) == "No sign of a backdoor" and "That is no proof" in sentences
            assert "no class to attack the repairs at" in sentences and "no cost to state" in sentences
            assert "not known" in figures[0] and "95.0 %" in figures[1] and "not known" in figures[2]
            assert "nothing can be said about attacks" in repairs and "use this" not in repairs
            assert "attack" not in words(page.locator("#curve .legend"))
            assert "no trigger to show" in words(page.locator("#suspects"))
        elif kind.startswith("nothing prunes"):
            assert curve == "Pruning No repair prunes channels, so there is no curve."
            assert "use this" in repairs
        else:
            assert "None. No repair has held against a fresh attack: trust none of these nets." in sentences
            assert "100.0 %" in figures[0] and "not repaired" in figures[0] and "not known" in figures[2]
            assert "use this" not in repairs and "Use" not in sentences


@pytest.mark.long
def test_many_classes_triggers_and_repairs_stay_small(browser, tmp_path):
    """Noise, which no PNG makes smaller."""
    run = Run(
        tmp_path,
        triggers={f"trigger{number:02}": number for number in range(14)},
        repairs={f"repair{number}": ({"drop": number + 1}, number, False) for number in range(8)},
        named=list(range(8)),
        classes=1000,
        shape=(100, 160, 3),
    )
    path = run.page()
    assert path.stat().st_size < 3_000_000
    with opened(browser, path, viewport={"width": 360, "height": 800}) as page:
        assert "12 triggers are shown here; 2 more" in words(page.locator("#curve"))
        assert page.locator("#images li").count() > 13
        assert page.evaluate("document.documentElement.scrollWidth") == 360


# Several experiments


def test_experiments_are_compared_in_one_page(browser, made, tmp_path):
    (tmp_path / "other").mkdir()
    other = Run(tmp_path / "other", {"hat": 3}, {"x10": X10, "x30": ({"drop": 30}, 30, False)}, named=[3])
    paths = {"first": made.path / "index.html", "second": other.page()}
    runs = [command.shortened(name, html.content(path.read_text(), path)) for name, path in paths.items()]
    path = tmp_path / "experiments.html"
    path.write_text(html.page("Experiments", {"experiments": runs}))
    with opened(browser, path) as shown:
        assert words(shown.locator("h1")) == "2 experiments side by side"
        assert "second: 3 of 3" in words(shown.locator(".sentences")).replace(
            "Likely backdoored (3 of 3", "3 of 3"
        )
        assert "None. No repair has held" in words(shown.locator(".sentences"))
        assert shown.locator("#curve polyline").count() == 4  # accuracy and attack of both
        rows = shown.locator("#repairs tbody")
        assert [words(row)[:12] for row in rows.all()][-2:] == ["second x10 1", "second x30 1"]
        shown.get_by_role("button", name="False alarm").click()
        assert words(rows.first).startswith("second x30")


def test_a_page_that_is_none_is_one_line(made):
    with pytest.raises(InputError, match="is no page of a run"):
        html.content((made.path / "README.md").read_text(), "README.md")


def test_the_template_of_dvc_plots_is_up_to_date():
    assert (ROOT / ".dvc/plots.html").read_text() == plots.template(), "make plots"


@pytest.mark.long
def test_dvc_experiments_in_pages_that_need_no_network(browser, project):
    project.dvc("exp", "run", "-n", "fell", "-S", "repairs.x10.drop=50")
    project.goodnet("page", "--experiments", "HEAD", "fell")
    with opened(browser, project.path / "experiments.html") as shown:
        rows = [words(row) for row in shown.locator("#repairs tbody").all()]
        assert {" ".join(row.split()[:2]) for row in rows} == {
            f"{name} {repair}" for name in ("HEAD", "fell") for repair in ("relearned", "x10")
        }
    words_of = [sys.executable, "-m", "goodnet.cli.main", "page", "--experiments", "nothing"]
    refused = project.run(*words_of, check=False, PYTHONPATH=str(project.path / "stages"))
    assert refused.returncode == 2 and refused.stderr.startswith("error: nothing: has no reports/index.html")
    project.dvc("plots", "diff", "HEAD", "fell", "--out", "plots")
    with opened(browser, project.path / "plots/index.html") as shown:
        titles = [words(title) for title in shown.locator("h2").all()]
        assert len(titles) >= 2 and any("Clean validation accuracy" in title for title in titles)
        assert shown.locator("polyline").count() >= 4
        assert "fell" in words(shown.locator("main")) and "HEAD" in words(shown.locator("main"))
