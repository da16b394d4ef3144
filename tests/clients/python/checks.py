"""A plugin of pytest: the cluster that shipped tests ask for, and a line a test into $CHECKS.

The package's tests of the dynamic client import `kubernetes.e2e_test.base`, which its wheel leaves
out. Here that module says where the cluster of $KUBECONFIG is.
"""

import asyncio
import json
import os
import sys
import types

import kubernetes
import pytest
from kubernetes import client, config


def _configuration():
    found = client.Configuration()
    config.load_kube_config(client_configuration=found)
    return found


def _aio_configuration():
    from kubernetes.aio import client as aio_client, config as aio_config

    found = aio_client.Configuration()
    asyncio.run(aio_config.load_kube_config(client_configuration=found))
    return found


def _provide(package, configuration):
    parent = types.ModuleType(package + ".e2e_test")
    base = types.ModuleType(package + ".e2e_test.base")
    base.get_e2e_configuration = configuration
    parent.base = base
    sys.modules[parent.__name__] = parent
    sys.modules[base.__name__] = base
    return parent


kubernetes.e2e_test = _provide("kubernetes", _configuration)
_provide("kubernetes.aio", _aio_configuration)


def _name(item):
    """`shipped: cluster custom resources` of the package's `test_cluster_custom_resources`."""
    case = item.name.removeprefix("test_").replace("_", " ")
    module = item.module.__name__
    if module.startswith("kubernetes.aio."):
        return "shipped, asyncio: " + case
    return ("shipped: " if module.startswith("kubernetes.") else "") + case


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped or (report.when != "call" and report.passed):
        return
    line = {"check": _name(item), "seconds": round(report.duration, 2)}
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        line["failure"] = crash.message if crash else str(report.longrepr)
    with open(os.environ["CHECKS"], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
