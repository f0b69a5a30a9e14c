"""Every example runs, and prints what its comments promise."""

import re

from examples import surgery


def test_surgery(capsys):
    surgery.main()
    printed = capsys.readouterr().out
    assert "K moved from class 19 to 15, unchanged: True" in printed
    assert "semantic_network gives (2, 7, 20, 35)" in printed
    covered, still = (int(s) for s in printed.split("freeze: ")[1].split() if s.isdigit())
    assert covered == still > 0
    assert "graft: the other's ResNet, True" in printed
    off = [float(x) for x in re.findall(r"by (\d+\.\d+)", printed.split("average: ")[1])]
    assert 0 < off[0] < off[1]  # the mean lies between
