"""A few hundred of what ``tests/endurance.py files`` does ten thousand times."""

import mutations
from synthetic_store import learn, probe, simulate, write_run


def test_damage_of_any_kind_of_file_is_told_mended_or_harmless(tmp_path):
    (tmp_path / "work").mkdir()
    rhythm, conflict = simulate("mix", 60), probe("mix", 60)
    run = write_run(tmp_path / "store", psnr=3.0, rhythm=rhythm, conflict=conflict, curve=learn())
    found = mutations.exercise(tmp_path / "work", 250, 1, run)
    assert not mutations.lost(found), mutations.table(found)
    assert len({kind for kind, _ in found}) > 12
