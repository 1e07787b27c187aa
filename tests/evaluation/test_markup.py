"""Text in a page stays text."""

from mgn.evaluation import markup


def test_names_are_no_markup(tmp_path):
    page = tmp_path / "page.html"
    odd = '<b>"a" & \udcff'
    parts = [markup.table(["<i>"], [[odd]]), markup.image(odd, b"bytes", "png")]
    markup.write(page, odd, parts)
    text = page.read_text(encoding="utf-8")
    assert "<b>" not in text and "<i>" not in text
    assert text.count("&lt;b&gt;&quot;a&quot; &amp; \\udcff") == 3  # as title, cell and name
    assert "data:image/png;base64,Ynl0ZXM=" in text
