//! Flow schemas and priority levels of a new cluster.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/apis/flowcontrol/bootstrap/default.go.

use super::Wanted;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

fn level(name: &str, spec: &str) -> Wanted {
    Wanted {
        group: GROUP,
        version: "v1",
        plural: "prioritylevelconfigurations",
        namespace: String::new(),
        json: format!(
            r#"{{"metadata":{{"name":"{name}","annotations":{{"apf.kubernetes.io/autoupdate-spec":"true"}}}},"spec":{spec}}}"#
        ),
    }
}

fn limited(name: &str, shares: u32, lendable: u32, queues: Option<(u32, u32, u32)>) -> Wanted {
    let response = match queues {
        Some((queues, hand, length)) => format!(
            r#"{{"type":"Queue","queuing":{{"queues":{queues},"handSize":{hand},"queueLengthLimit":{length}}}}}"#
        ),
        None => r#"{"type":"Reject"}"#.to_owned(),
    };
    level(
        name,
        &format!(
            r#"{{"type":"Limited","limited":{{"nominalConcurrencyShares":{shares},"lendablePercent":{lendable},"limitResponse":{response}}}}}"#
        ),
    )
}

struct Schema {
    name: &'static str,
    level: &'static str,
    precedence: u32,
    by: &'static str,
    /// Subjects in JSON.
    subjects: &'static str,
    /// Whether only requests without a resource match (health).
    urls: Option<&'static str>,
}

fn schema(schema: &Schema) -> Wanted {
    let by = match schema.by {
        "" => String::new(),
        by => format!(r#""distinguisherMethod":{{"type":"{by}"}},"#),
    };
    let rules = match schema.urls {
        Some(urls) => format!(r#""nonResourceRules":[{{"verbs":["get"],"nonResourceURLs":{urls}}}]"#),
        None => concat!(
            r#""resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true,"namespaces":["*"]}],"#,
            r#""nonResourceRules":[{"verbs":["*"],"nonResourceURLs":["*"]}]"#
        )
        .to_owned(),
    };
    Wanted {
        group: GROUP,
        version: "v1",
        plural: "flowschemas",
        namespace: String::new(),
        json: format!(
            r#"{{"metadata":{{"name":"{}","annotations":{{"apf.kubernetes.io/autoupdate-spec":"true"}}}},"spec":{{"priorityLevelConfiguration":{{"name":"{}"}},"matchingPrecedence":{},{by}"rules":[{{"subjects":{},{rules}}}]}}}}"#,
            schema.name, schema.level, schema.precedence, schema.subjects
        ),
    }
}

const EVERYONE: &str = r#"[{"kind":"Group","group":{"name":"system:unauthenticated"}},{"kind":"Group","group":{"name":"system:authenticated"}}]"#;
const NODES: &str = r#"[{"kind":"Group","group":{"name":"system:nodes"}}]"#;

/// All of them.
pub(super) fn objects() -> Vec<Wanted> {
    let mut all = vec![
        level("exempt", r#"{"type":"Exempt"}"#),
        limited("catch-all", 5, 0, None),
        limited("system", 30, 33, Some((64, 6, 50))),
        limited("node-high", 40, 25, Some((64, 6, 50))),
        limited("leader-election", 10, 0, Some((16, 4, 50))),
        limited("workload-high", 40, 50, Some((128, 6, 50))),
        limited("workload-low", 100, 90, Some((128, 6, 50))),
        limited("global-default", 20, 50, Some((128, 6, 50))),
    ];
    let of = |name, level, precedence, by, subjects, urls| Schema {
        name,
        level,
        precedence,
        by,
        subjects,
        urls,
    };
    let schemas = [
        of(
            "exempt",
            "exempt",
            1,
            "",
            r#"[{"kind":"Group","group":{"name":"system:masters"}}]"#,
            None,
        ),
        of(
            "probes",
            "exempt",
            2,
            "",
            EVERYONE,
            Some(r#"["/healthz","/livez","/readyz"]"#),
        ),
        of(
            "system-leader-election",
            "leader-election",
            100,
            "ByUser",
            r#"[{"kind":"User","user":{"name":"system:kube-controller-manager"}},{"kind":"User","user":{"name":"system:kube-scheduler"}},{"kind":"ServiceAccount","serviceAccount":{"name":"*","namespace":"kube-system"}}]"#,
            None,
        ),
        of(
            "endpoint-controller",
            "workload-high",
            150,
            "ByUser",
            r#"[{"kind":"User","user":{"name":"system:kube-controller-manager"}},{"kind":"ServiceAccount","serviceAccount":{"name":"endpoint-controller","namespace":"kube-system"}},{"kind":"ServiceAccount","serviceAccount":{"name":"endpointslicemirroring-controller","namespace":"kube-system"}}]"#,
            None,
        ),
        of(
            "workload-leader-election",
            "leader-election",
            200,
            "ByUser",
            r#"[{"kind":"ServiceAccount","serviceAccount":{"name":"*","namespace":"kube-system"}}]"#,
            None,
        ),
        of("system-node-high", "node-high", 400, "ByUser", NODES, None),
        of("system-nodes", "system", 500, "ByUser", NODES, None),
        of(
            "kube-controller-manager",
            "workload-high",
            800,
            "ByNamespace",
            r#"[{"kind":"User","user":{"name":"system:kube-controller-manager"}}]"#,
            None,
        ),
        of(
            "kube-scheduler",
            "workload-high",
            800,
            "ByNamespace",
            r#"[{"kind":"User","user":{"name":"system:kube-scheduler"}}]"#,
            None,
        ),
        of(
            "kube-system-service-accounts",
            "workload-high",
            900,
            "ByNamespace",
            r#"[{"kind":"ServiceAccount","serviceAccount":{"name":"*","namespace":"kube-system"}}]"#,
            None,
        ),
        of(
            "service-accounts",
            "workload-low",
            9000,
            "ByUser",
            r#"[{"kind":"Group","group":{"name":"system:serviceaccounts"}}]"#,
            None,
        ),
        of(
            "global-default",
            "global-default",
            9900,
            "ByUser",
            EVERYONE,
            None,
        ),
        of("catch-all", "catch-all", 10000, "ByUser", EVERYONE, None),
    ];
    all.extend(schemas.iter().map(schema));
    all
}
