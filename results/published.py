"""Published figures, each with its source, protocol and how sure it is (``results/published/*.csv``).

Rule: a figure that several sources print with different values has a row for each; the authors' own comes first, then
the one that most sources print, and the first counts. An average that is not the mean of its columns says so in its
note; one over some of the setting's test sets names them there (``average of A, B``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).parent / "published"


def published(setting: str | None = None) -> pd.DataFrame:
    """Rows ``setting, baseline, strategy, dataset, metric, value, protocol, source, confidence, note`` (may be empty).

    Args:
        setting: only this setting's rows; ``None`` for all, the headline claims (setting ``headline``) included.
    """
    import pandas as pd

    tables = [pd.read_csv(path, dtype={"note": str}).fillna({"note": ""}) for path in sorted(FOLDER.glob("*.csv"))]
    table = pd.concat(tables, ignore_index=True)
    return table if setting is None else table[table["setting"] == setting].reset_index(drop=True)
