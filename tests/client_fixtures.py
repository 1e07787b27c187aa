"""What the client's tests share: served models, images, both protocols."""

import pytest
from small_models import PROTOCOLS, made_models, write_files


@pytest.fixture(scope="module")
def models(request, tmp_path_factory):
    """{kind: frozen graph, and a model that serves it}, of a module's KINDS."""
    with made_models(tmp_path_factory, request.module.KINDS) as made:
        yield made


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images of three sizes and two formats."""
    return write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    """(server, flags of the client)."""
    return PROTOCOLS[request.param]
