"""What strategies cost, as art/README.md says it, is what was measured, of every strategy there is.

``python tests/art/test_cost_page.py`` writes the table anew.
"""

import csv
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE, MEASURED = ROOT / "art/README.md", ROOT / "results/measured/speed-cpu.csv"
TABLE = re.compile(r"<!-- cost -->\n.*?<!-- end of cost -->", re.DOTALL)
CASE = re.compile(r"(?P<spec>\S+) over mix, (?P<network>\w+) tiny")
NETWORKS = {"transweather": "TransWeather", "nafnet": "NAFNet", "airnet": "AirNet"}


def measured():
    """Ratio and numbers kept a parameter, by strategy and network; with where they come from."""
    with MEASURED.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["what"] == "strategies"]
    found, origins = {}, set()
    for row in rows:
        case = CASE.fullmatch(row["case"])
        if case and case["network"] in NETWORKS:
            kept = dict(part.split("=") for part in row["medians"].split("; "))["kept"]
            found.setdefault(case["spec"], {})[case["network"]] = float(row["ratio"]), float(kept)
            origins.add(f"{row['device']}, torch {row['torch']}, {row['rounds']} rounds")
    return found, sorted(origins)


def table(found, origins):
    lines = [f"| strategy | {' | '.join(NETWORKS.values())} | keeps |", "|---|" + "--:|" * (len(NETWORKS) + 1)]
    for spec in sorted(found, key=lambda spec: (found[spec]["transweather"][0], spec)):
        ratios = [f"{found[spec][network][0]:.2f}" for network in NETWORKS]
        kept = found[spec]["transweather"][1]
        lines.append(f"| `{spec}` | {' | '.join(ratios)} | {f'{kept:.0f}' if kept > 0.5 else '–'} |")
    return "\n".join([*lines, "", *(f"Measured on {origin}." for origin in origins)])


def renewed(text):
    return TABLE.sub(lambda _: f"<!-- cost -->\n\n{table(*measured())}\n\n<!-- end of cost -->", text)


def test_the_table_is_that_of_the_file():
    text = PAGE.read_text(encoding="utf-8")
    assert TABLE.search(text) and renewed(text) == text


def test_every_strategy_was_measured_on_every_network():
    import art

    found, _ = measured()
    assert {spec.partition(":")[0] for spec in found} == {
        name for name, entry in art.entries().items() if name != "mix" and not entry.apart
    }
    assert all(ratios.keys() == NETWORKS.keys() for ratios in found.values())
    strict = [spec for spec in found if art.entries()[spec.partition(":")[0]].cost == "gradients"]
    for network in NETWORKS:
        ratios = [found[spec][network][0] for spec in strict]
        assert min(ratios) > 1.2, network  # every task's gradient


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
