"""Which servers are this machine."""

import pytest

from mgn.serving.place import Place


@pytest.mark.parametrize(
    ("server", "here"),
    [
        ("localhost:8500", True),
        ("LocalHost:8500", True),
        ("models.localhost:8500", True),
        ("127.0.0.1:1", True),
        ("127.9.8.7:1", True),
        ("[::1]:8500", True),
        ("10.0.0.1:8500", False),
        ("[2001:db8::1]:8500", False),
        ("localhost.example.org:8500", False),
        ("notlocalhost:8500", False),
        ("127.0.0.1.nip.io:8500", False),
    ],
)
def test_loopback(server, here):
    assert Place(server, "mgn").is_loopback is here
