//! The objects that both sides get.

/// A ConfigMap of about a kilobyte.
pub(super) fn map(name: &str) -> String {
    let data = "x".repeat(900);
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"k":"{data}"}}}}"#
    )
}

/// A pod for a scheduler; nodes named `fake-*` alone are meant to take it.
pub(super) fn pod(name: &str, kind: &str, scheduler: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","labels":{{"kind":"{kind}","app":"bench"}}}},"spec":{{"schedulerName":"{scheduler}","nodeSelector":{{"fake":"true"}},"containers":[{{"name":"main","image":"registry.k8s.io/pause:3.10.2","resources":{{"requests":{{"cpu":"10m","memory":"10Mi"}}}},"env":[{{"name":"A","value":"one"}},{{"name":"B","value":"two"}}]}}]}}}}"#
    )
}

pub(super) fn node(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{name}","labels":{{"fake":"true","kubernetes.io/hostname":"{name}"}}}},"status":{{"capacity":{{"cpu":"32","memory":"64Gi","pods":"110"}},"allocatable":{{"cpu":"32","memory":"64Gi","pods":"110"}},"conditions":[{{"type":"Ready","status":"True","reason":"KubeletReady"}}]}}}}"#
    )
}

pub(super) fn namespace(name: &str) -> String {
    format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}"}}}}"#)
}
