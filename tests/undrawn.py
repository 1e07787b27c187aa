"""Evaluations without pictures, which take most of their time, for tests of other things."""


def patch(patches):
    """Let `evaluate.py` draw nothing; `patches` is a `pytest.MonkeyPatch`."""
    from mgn.evaluation import page, report

    patches.setattr(page, "draw", lambda _report, folder, *_: report.Drawings(folder))
