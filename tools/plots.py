"""Write .dvc/plots.html, with which `dvc plots` draws offline, from the page's own style and charts."""

from pathlib import Path

from goodnet.files import outputs
from goodnet.report import plots

if __name__ == "__main__":
    outputs.write_text(Path(__file__).resolve().parent.parent / ".dvc/plots.html", plots.template())
