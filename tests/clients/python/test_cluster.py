"""What users of the Python client do with a cluster: watch, stream, apply, page, evict."""

import datetime
import json
import threading
import time
import uuid

import pytest
from kubernetes import client, config, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.stream import portforward, stream

IMAGE = "localhost/busybox:1"


@pytest.fixture(scope="session")
def core():
    config.load_kube_config()
    return client.CoreV1Api()


@pytest.fixture(scope="session")
def namespace(core):
    name = "python-" + uuid.uuid4().hex[:8]
    core.create_namespace({"metadata": {"name": name}})
    # Pods are refused before the namespace has its service account.
    events = watch.Watch().stream(core.list_namespaced_service_account, name, timeout_seconds=10)
    try:
        if next(events, None) is None:
            # A control plane without its controllers.
            core.create_namespaced_service_account(name, {"metadata": {"name": "default"}})
    finally:
        yield name
        core.delete_namespace(name)


@pytest.fixture(scope="session")
def nodes(core):
    if not core.list_node().items:
        pytest.skip("no node runs pods here")


def pod(name, command, **spec):
    container = {"name": "main", "image": IMAGE, "command": command}
    return {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
    }


@pytest.fixture(scope="session")
def shell(core, namespace, nodes):
    """A running pod that waits, and serves `hello` on port 8080."""
    script = "echo ready; mkdir /www; echo hello > /www/index.html; exec httpd -f -p 8080 -h /www"
    core.create_namespaced_pod(namespace, pod("shell", ["sh", "-c", script]))
    for event in watch.Watch().stream(
        core.list_namespaced_pod, namespace, label_selector="app=shell", timeout_seconds=60
    ):
        if event["object"].status.phase == "Running":
            return "shell"
    raise AssertionError("the pod does not run")


def test_version_and_discovery(core):
    version = client.VersionApi().get_code()
    assert (version.major, version.minor) == ("1", "36")
    groups = {group.name for group in client.ApisApi().get_api_versions().groups}
    assert {"apps", "batch", "autoscaling", "networking.k8s.io"} <= groups


def test_watch_sees_each_change_once(core, namespace):
    seen = []
    started = threading.Event()

    def follow():
        watcher = watch.Watch()
        stream_ = watcher.stream(
            core.list_namespaced_config_map, namespace, label_selector="kind=watched",
            resource_version=revision, timeout_seconds=20,
        )
        started.set()
        for event in stream_:
            seen.append((event["type"], event["object"].data["n"]))
            if event["type"] == "DELETED":
                watcher.stop()

    revision = core.list_namespaced_config_map(namespace).metadata.resource_version
    thread = threading.Thread(target=follow)
    thread.start()
    started.wait()
    body = {"metadata": {"name": "watched", "labels": {"kind": "watched"}}, "data": {"n": "1"}}
    core.create_namespaced_config_map(namespace, body)
    core.patch_namespaced_config_map("watched", namespace, {"data": {"n": "2"}})
    core.delete_namespaced_config_map("watched", namespace)
    thread.join(20)
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


def test_watch_leaves_the_selector(core, namespace):
    """An object that no longer matches is gone for a watcher."""
    revision = core.list_namespaced_config_map(namespace).metadata.resource_version
    body = {"metadata": {"name": "leaves", "labels": {"kind": "leaves"}}}
    core.create_namespaced_config_map(namespace, body)
    core.patch_namespaced_config_map("leaves", namespace, {"metadata": {"labels": {"kind": "no"}}})
    events = watch.Watch().stream(
        core.list_namespaced_config_map, namespace, label_selector="kind=leaves",
        resource_version=revision, timeout_seconds=2,
    )
    assert [event["type"] for event in events] == ["ADDED", "DELETED"]


def test_watch_from_an_impossible_revision(core, namespace):
    with pytest.raises(ApiException) as raised:
        for _ in watch.Watch().stream(
            core.list_namespaced_config_map, namespace, resource_version="not-a-number",
            timeout_seconds=2,
        ):
            pass
    assert raised.value.status == 500


def test_watch_with_initial_events(core, namespace):
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "initial"}})
    response = core.list_namespaced_config_map(
        namespace, watch=True, send_initial_events=True, allow_watch_bookmarks=True,
        resource_version_match="NotOlderThan", timeout_seconds=2, _preload_content=False,
    )
    events = [json.loads(line) for line in response.read().decode().splitlines()]
    last = events[-1]
    assert [event["type"] for event in events[:-1]] == ["ADDED"] * (len(events) - 1)
    assert last["type"] == "BOOKMARK"
    assert last["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"


def test_list_in_pages(core, namespace):
    for number in range(7):
        body = {"metadata": {"name": f"page-{number}", "labels": {"kind": "page"}}}
        core.create_namespaced_config_map(namespace, body)
    names, token, remaining = [], None, []
    while token != "":
        page = core.list_namespaced_config_map(
            namespace, label_selector="kind=page", limit=3, _continue=token
        )
        names += [item.metadata.name for item in page.items]
        remaining.append(page.metadata.remaining_item_count)
        token = page.metadata._continue or ""
    assert names == [f"page-{number}" for number in range(7)]
    # With a selector the server does not count.
    assert remaining == [None, None, None]


def test_optimistic_concurrency(core, namespace):
    made = core.create_namespaced_config_map(namespace, {"metadata": {"name": "race"}})
    core.patch_namespaced_config_map("race", namespace, {"data": {"a": "1"}})
    made.data = {"a": "2"}
    with pytest.raises(ApiException) as raised:
        core.replace_namespaced_config_map("race", namespace, made)
    status = json.loads(raised.value.body)
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert "the object has been modified" in status["message"]


def test_three_kinds_of_patch(core, namespace):
    core.create_namespaced_service(namespace, {
        "metadata": {"name": "patched"},
        "spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]},
    })
    dynamic = DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="Service")

    def patch(body, kind):
        dynamic.patch(body=body, name="patched", namespace=namespace, content_type=kind)
        ports = core.read_namespaced_service("patched", namespace).spec.ports
        return [(port.name, port.port) for port in ports]

    # Ports are a map by number for a strategic patch, a plain list for a merge.
    more = {"spec": {"ports": [{"name": "c", "port": 82}]}}
    strategic = patch(more, "application/strategic-merge-patch+json")
    assert sorted(strategic) == [("a", 80), ("b", 81), ("c", 82)]
    step = [{"op": "remove", "path": "/spec/ports/0"}]
    assert len(patch(step, "application/json-patch+json")) == 2
    assert patch(more, "application/merge-patch+json") == [("c", 82)]


def test_server_side_apply_and_its_conflict(core, namespace):
    dynamic = DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="ConfigMap")

    def apply(manager, data, **options):
        body = {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "applied", "namespace": namespace}, "data": data,
        }
        return dynamic.server_side_apply(body=body, field_manager=manager, **options)

    apply("one", {"shared": "1", "one": "1"})
    with pytest.raises(Exception) as raised:
        apply("two", {"shared": "2"})
    status = json.loads(raised.value.body)
    assert status["reason"] == "Conflict"
    assert status["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    assert 'conflict with "one": .data.shared' in status["message"]
    apply("two", {"shared": "2"}, force_conflicts=True)
    # What a manager no longer applies is gone, unless another one has it.
    after = apply("one", {})
    assert dict(after.data) == {"shared": "2"}
    managers = {entry.manager for entry in after.metadata.managedFields}
    assert managers == {"two"} or managers == {"one", "two"}


def test_dry_run_and_strict_validation(core, namespace):
    made = core.create_namespaced_config_map(
        namespace, {"metadata": {"name": "dry"}}, dry_run="All"
    )
    assert made.metadata.uid
    with pytest.raises(ApiException) as raised:
        core.read_namespaced_config_map("dry", namespace)
    assert raised.value.status == 404
    body = {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "strict"}, "spec": {"holder": "me"},
    }
    with pytest.raises(ApiException) as raised:
        client.CustomObjectsApi().create_namespaced_custom_object(
            "coordination.k8s.io", "v1", namespace, "leases", body, field_validation="Strict"
        )
    assert raised.value.status == 400
    assert 'unknown field \\"spec.holder\\"' in raised.value.body


def test_create_from_yaml(core, namespace):
    documents = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "from-yaml"}},
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "from-yaml"},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": IMAGE}]},
                },
            },
        },
    ]
    made = utils.create_from_yaml(
        client.ApiClient(), yaml_objects=documents, namespace=namespace
    )
    assert [item[0].metadata.name for item in made] == ["from-yaml", "from-yaml"]
    scale = client.AppsV1Api().read_namespaced_deployment_scale("from-yaml", namespace)
    assert not scale.spec.replicas


def test_lease_and_microseconds(core, namespace):
    coordination = client.CoordinationV1Api()
    now = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc)
    coordination.create_namespaced_lease(namespace, {
        "metadata": {"name": "lease"}, "spec": {"holderIdentity": "me", "renewTime": now},
    })
    lease = coordination.read_namespaced_lease("lease", namespace)
    assert lease.spec.renew_time == now


def test_access_review_and_token(core, namespace):
    review = client.AuthorizationV1Api().create_self_subject_access_review({
        "spec": {"resourceAttributes": {"verb": "delete", "resource": "pods"}},
    })
    assert review.status.allowed
    token = core.create_namespaced_service_account_token(
        "default", namespace, {"spec": {"expirationSeconds": 3600}}
    )
    settings = client.Configuration.get_default_copy()
    settings.cert_file = settings.key_file = None
    settings.api_key = {"authorization": "Bearer " + token.status.token}
    # What load_kube_config left to renew its own credentials.
    settings.refresh_api_key_hook = None
    theirs = client.ApiClient(settings)
    who = client.AuthenticationV1Api(theirs).create_self_subject_review({})
    assert who.status.user_info.username == f"system:serviceaccount:{namespace}:default"
    with pytest.raises(ApiException) as raised:
        client.CoreV1Api(theirs).list_namespaced_secret(namespace)
    assert raised.value.status == 403


def test_delete_collection(core, namespace):
    core.delete_collection_namespaced_config_map(namespace, label_selector="kind=page")
    left = core.list_namespaced_config_map(namespace, label_selector="kind=page").items
    assert left == []


def test_logs(core, namespace, shell):
    assert core.read_namespaced_pod_log(shell, namespace).strip() == "ready"
    assert core.read_namespaced_pod_log(shell, namespace, tail_lines=0) == ""


def test_logs_followed(core, namespace, nodes):
    script = "for n in 1 2 3; do echo $n; sleep 0.3; done"
    core.create_namespaced_pod(
        namespace, pod("counts", ["sh", "-c", script], restartPolicy="Never")
    )
    for event in watch.Watch().stream(
        core.list_namespaced_pod, namespace, label_selector="app=counts", timeout_seconds=30
    ):
        if event["object"].status.phase in ("Running", "Succeeded"):
            break
    lines = watch.Watch().stream(core.read_namespaced_pod_log, "counts", namespace)
    assert list(lines) == ["1", "2", "3"]


def test_exec(core, namespace, shell):
    answer = stream(
        core.connect_get_namespaced_pod_exec, shell, namespace,
        command=["sh", "-c", "echo out; echo err >&2"],
        stderr=True, stdin=False, stdout=True, tty=False,
    )
    assert sorted(answer.split()) == ["err", "out"]


def test_exec_with_input_and_exit_code(core, namespace, shell):
    session = stream(
        core.connect_get_namespaced_pod_exec, shell, namespace,
        command=["sh", "-c", "read word; echo got $word; exit 7"],
        stderr=True, stdin=True, stdout=True, tty=False, _preload_content=False,
    )
    session.write_stdin("apple\n")
    session.run_forever(timeout=10)
    assert session.read_stdout() == "got apple\n"
    assert session.returncode == 7
    session.close()


def test_exec_on_a_terminal(core, namespace, shell):
    session = stream(
        core.connect_get_namespaced_pod_exec, shell, namespace, command=["sh"],
        stderr=False, stdin=True, stdout=True, tty=True, _preload_content=False,
    )
    session.write_channel(4, json.dumps({"Width": 77, "Height": 33}))
    session.write_stdin("stty size; exit\n")
    session.run_forever(timeout=10)
    assert "33 77" in session.read_stdout()
    session.close()


def test_exec_of_binary_data(core, namespace, shell):
    session = stream(
        core.connect_get_namespaced_pod_exec, shell, namespace,
        command=["head", "-c", "300000", "/dev/zero"],
        stderr=True, stdin=False, stdout=True, tty=False, _preload_content=False, binary=True,
    )
    session.run_forever(timeout=20)
    assert session.read_stdout() == bytes(300000)
    session.close()


def test_exec_of_a_missing_program(core, namespace, shell):
    session = stream(
        core.connect_get_namespaced_pod_exec, shell, namespace, command=["nothing-like-this"],
        stderr=True, stdin=False, stdout=True, tty=False, _preload_content=False,
    )
    session.run_forever(timeout=10)
    with_code = session.read_channel(3) if session._returncode is None else ""
    status = json.loads(with_code) if with_code else {}
    assert status.get("status") == "Failure"
    session.close()


def test_exec_in_a_missing_container(core, namespace, shell):
    with pytest.raises(ApiException) as raised:
        stream(
            core.connect_get_namespaced_pod_exec, shell, namespace, command=["true"],
            container="other", stderr=True, stdin=False, stdout=True, tty=False,
        )
    # The client does not read the answer of a refused upgrade.
    assert "400 Bad Request" in raised.value.reason


def test_portforward(core, namespace, shell):
    forward = portforward(
        core.connect_get_namespaced_pod_portforward, shell, namespace, ports="8080"
    )
    socket = forward.socket(8080)
    socket.setblocking(True)
    socket.settimeout(10)
    socket.sendall(b"GET /index.html HTTP/1.1\r\nHost: shell\r\nConnection: close\r\n\r\n")
    answer = b""
    while True:
        part = socket.recv(4096)
        if not part:
            break
        answer += part
    socket.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert answer.endswith(b"hello\n")
    assert forward.error(8080) is None


def test_proxy_to_a_pod(core, namespace, shell):
    answer = core.connect_get_namespaced_pod_proxy_with_path(
        f"{shell}:8080", namespace, "index.html"
    )
    assert answer == "hello\n"


def test_events_of_a_pod(core, namespace, shell):
    events = core.list_namespaced_event(
        namespace, field_selector=f"involvedObject.name={shell}"
    ).items
    assert {"Scheduled", "Started"} <= {event.reason for event in events}


def test_job_by_watch(core, namespace, nodes):
    batch = client.BatchV1Api()
    template = {
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "c", "image": IMAGE, "command": ["true"]}],
        },
    }
    batch.create_namespaced_job(
        namespace, {"metadata": {"name": "once"}, "spec": {"template": template}}
    )
    for event in watch.Watch().stream(batch.list_namespaced_job, namespace, timeout_seconds=40):
        if event["object"].status.succeeded:
            return
    raise AssertionError("the Job did not end")


def test_eviction(core, namespace, shell):
    core.create_namespaced_pod_eviction(shell, namespace, {"metadata": {"name": shell}})
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            core.read_namespaced_pod(shell, namespace)
        except ApiException as error:
            assert error.status == 404
            return
        time.sleep(0.2)
    raise AssertionError("the pod is still there")
