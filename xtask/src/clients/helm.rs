//! helm with a chart of ours: what a release goes through, command by command.
//!
//! The chart (tests/clients/helm/chart) has a CRD and an object of it, a Deployment behind a
//! Service, a Job for each hook, and a test pod that asks the Service by name.

use anyhow::Result;

use super::check::Check;
use super::step::{self, Step, fails, step};
use super::suite::Setting;

const STEPS: &[Step] = &[
    step("lint", "helm lint {files}/chart", &["0 chart(s) failed"]),
    step(
        "install: CRD, hooks, server-side apply, wait",
        "helm install web {files}/chart -n shop --create-namespace --wait --timeout 90s",
        &["STATUS: deployed", "REVISION: 1", "web says first."],
    ),
    step(
        "what was rendered with the cluster's answers",
        "kubectl get configmap web -n shop -o jsonpath={.metadata.annotations}",
        &[
            "\"autoscaling\":\"true\"",
            "\"lookup\":\"kube-system\"",
            "\"version\":\"v1.36.",
        ],
    ),
    step(
        "install --dry-run=server looks objects up and stores nothing",
        "helm install dry {files}/chart -n shop --dry-run=server --set text=dry",
        &["lookup: kube-system", "dry says dry."],
    ),
    step(
        "install --dry-run=server looks objects up and stores nothing",
        "helm list -n shop -q",
        &["web", "!dry"],
    ),
    step(
        "the custom resource got its default",
        "kubectl get greetings web -n shop -o jsonpath={.spec.times}",
        &["3"],
    ),
    step(
        "hooks ran in their order and those of one use are gone",
        "kubectl get jobs,configmaps -n shop",
        &[
            "web-pre-install    Complete   1/1",
            "web-post-install   Complete   1/1",
            "!web-fleeting",
            "!web-pre-upgrade",
        ],
    ),
    step(
        "test pod",
        "helm test web -n shop --logs --timeout 60s",
        &["Phase:          Succeeded", "first"],
    ),
    step(
        "list",
        "helm list -n shop -o json",
        &[
            "\"name\":\"web\"",
            "\"revision\":\"1\"",
            "\"status\":\"deployed\"",
        ],
    ),
    step(
        "list in all namespaces",
        "helm list -A --filter ^we",
        &["web", "shop", "deployed"],
    ),
    step(
        "status",
        "helm status web -n shop -o json",
        &[
            "\"status\":\"deployed\"",
            "\"phase\":\"Succeeded\"",
            "!Failed",
        ],
    ),
    step(
        "status lists the objects",
        "helm status web -n shop",
        &["==> v1/Deployment", "==> v1/Greeting", "1/1"],
    ),
    step(
        "get all",
        "helm get all web -n shop",
        &[
            "USER-SUPPLIED VALUES",
            "kind: Deployment",
            "web says first.",
        ],
    ),
    step(
        "upgrade: hooks, a second revision",
        "helm upgrade web {files}/chart -n shop --set text=second,replicas=2 --wait --wait-for-jobs --timeout 90s",
        &["REVISION: 2", "STATUS: deployed", "web says second."],
    ),
    step(
        "upgrade: hooks, a second revision",
        "kubectl get deployments,jobs -n shop",
        &[
            "2/2",
            "web-pre-upgrade    Complete",
            "web-post-upgrade   Complete",
        ],
    ),
    step(
        "test pod after the upgrade",
        "helm test web -n shop --logs --timeout 60s",
        &["second"],
    ),
    step(
        "get values",
        "helm get values web -n shop",
        &["replicas: 2", "text: second"],
    ),
    step(
        "get manifest of an old revision",
        "helm get manifest web -n shop --revision 1",
        &["replicas: 1", "first"],
    ),
    step(
        "get hooks",
        "helm get hooks web -n shop",
        &["helm.sh/hook: pre-rollback"],
    ),
    step(
        "history",
        "helm history web -n shop",
        &["superseded", "deployed", "Upgrade complete"],
    ),
    step(
        "upgrade --install of what is there",
        "helm upgrade --install web {files}/chart -n shop --reuse-values --wait --timeout 60s",
        &["REVISION: 3"],
    ),
    step(
        "upgrade without server-side apply (three-way merge)",
        "helm upgrade web {files}/chart -n shop --server-side=false --set text=merged,replicas=3 --wait --timeout 90s",
        &["REVISION: 4", "web says merged."],
    ),
    step(
        "upgrade without server-side apply (three-way merge)",
        "kubectl get deployment,configmap web -n shop -o jsonpath={.items[*].status.readyReplicas},{.items[*].data}",
        &["3,", "merged"],
    ),
    step(
        "another manager's field is a conflict",
        "kubectl apply --server-side --force-conflicts --field-manager=other -f {files}/other.yaml",
        &["serverside-applied"],
    ),
    fails(
        "another manager's field is a conflict",
        "helm upgrade web {files}/chart -n shop --server-side=true --set text=third --timeout 30s",
        &["conflict", "\"other\"", ".data.index.html"],
    ),
    step(
        "--force-conflicts takes the field",
        "helm upgrade web {files}/chart -n shop --server-side=true --force-conflicts --set text=third --wait --timeout 90s",
        &["web says third."],
    ),
    fails(
        "an upgrade that does not get ready is rolled back",
        "helm upgrade web {files}/chart -n shop --set image=localhost/missing:1 --no-hooks --rollback-on-failure --timeout 8s",
        &["rolled back"],
    ),
    step(
        "an upgrade that does not get ready is rolled back",
        "helm history web -n shop",
        &["failed", "Rollback to"],
    ),
    step(
        "rollback: hooks, the first revision's objects",
        "helm rollback web 1 -n shop --force-conflicts --wait --timeout 90s",
        &["Rollback was a success"],
    ),
    step(
        "rollback: hooks, the first revision's objects",
        "kubectl get deployments,jobs -n shop",
        &["1/1", "web-pre-rollback", "web-post-rollback   Complete"],
    ),
    step(
        "test pod after the rollback",
        "helm test web -n shop --logs --timeout 60s",
        &["first"],
    ),
    fails(
        "an object that is invalid is refused",
        "helm install bad {files}/chart -n shop --set replicas=-1 --no-hooks",
        &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    ),
    step(
        "an object that is invalid is refused",
        "helm uninstall bad -n shop --no-hooks --ignore-not-found",
        &[],
    ),
    step(
        "uninstall: hooks, objects gone, the CRD stays",
        "helm uninstall web -n shop --wait --timeout 60s",
        &["release \"web\" uninstalled"],
    ),
    step(
        "uninstall: hooks, objects gone, the CRD stays",
        "kubectl get deployments,services,greetings,jobs,secrets -n shop",
        &[
            "!deployment.apps/web",
            "!service/web",
            "!greeting",
            "!sh.helm.release",
            "web-pre-delete ",
            "web-post-delete",
        ],
    ),
    step(
        "uninstall: hooks, objects gone, the CRD stays",
        "kubectl get crd greetings.clients.example.org",
        &["greetings"],
    ),
    step(
        "nothing is listed any more",
        "helm list -A -o json",
        &["[]"],
    ),
];

pub(super) fn run(setting: &Setting) -> Result<Vec<Check>> {
    step::run(setting, STEPS)
}
