"""The commands of an installed package: each calls what its script or `python -m` calls.

`pyproject.toml` names them, and installs the scripts as `mgn.scripts`.
"""

import importlib
from collections.abc import Callable

from mgn.system import cli


def _command(module: str) -> Callable[[], int]:
    def command() -> int:
        return cli.run(importlib.import_module(module).main)

    return command


train = _command("mgn.scripts.train")
evaluate = _command("mgn.scripts.evaluate")
convert = _command("mgn.scripts.convert_pytorch_weights")
export_pb = _command("mgn.scripts.export_pb")
export_pre_post = _command("mgn.scripts.export_pb_with_pre_post")
serve = _command("mgn.scripts.export_tf_serving_model")
serve_pre_post = _command("mgn.scripts.export_tf_serving_with_pre_post")
describe = _command("mgn.export.__main__")
deploy = _command("mgn.deploy.__main__")
doctor = _command("mgn.doctor")
search = _command("mgn.search")
migrate = _command("mgn.migrate")
client = _command("mgn.client")
