//! The demo's objects. The Deployment is written as one that is to be updated without an error: one
//! pod more during the update and none less, a readiness probe, and a pause before a pod that
//! ends stops listening, so that every node has learnt of it.

pub(super) const IMAGE: &str = "localhost/transom-hello:latest";
pub(super) const NAMESPACE: &str = "default";
pub(super) const DEPLOYMENT: &str = "hello";
pub(super) const SERVICE: &str = "hello";
const PORT: u16 = 8080;

pub(super) fn deployment(version: &str, replicas: usize) -> String {
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment",
"metadata":{{"name":"{DEPLOYMENT}","namespace":"{NAMESPACE}","labels":{{"app":"hello"}}}},
"spec":{{"replicas":{replicas},"selector":{{"matchLabels":{{"app":"hello"}}}},
"strategy":{{"type":"RollingUpdate","rollingUpdate":{{"maxSurge":1,"maxUnavailable":0}}}},
"template":{{"metadata":{{"labels":{{"app":"hello"}}}},
"spec":{{"terminationGracePeriodSeconds":20,
"topologySpreadConstraints":[{{"maxSkew":1,"topologyKey":"kubernetes.io/hostname",
"whenUnsatisfiable":"ScheduleAnyway","labelSelector":{{"matchLabels":{{"app":"hello"}}}}}}],
"containers":[{{"name":"hello","image":"{IMAGE}","imagePullPolicy":"IfNotPresent",
"args":["--version","{version}"],"ports":[{{"containerPort":{PORT}}}],
"resources":{{"requests":{{"cpu":"20m","memory":"16Mi"}}}},
"readinessProbe":{{"httpGet":{{"path":"/","port":{PORT}}},"periodSeconds":1}},
"lifecycle":{{"preStop":{{"sleep":{{"seconds":2}}}}}},
"securityContext":{{"runAsUser":65535,"runAsNonRoot":true,"allowPrivilegeEscalation":false,
"readOnlyRootFilesystem":true,"capabilities":{{"drop":["ALL"]}}}}}}]}}}}}}}}"#
    )
}

pub(super) fn service() -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Service",
"metadata":{{"name":"{SERVICE}","namespace":"{NAMESPACE}","labels":{{"app":"hello"}}}},
"spec":{{"type":"NodePort","selector":{{"app":"hello"}},
"ports":[{{"port":80,"targetPort":{PORT},"protocol":"TCP"}}]}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They can be read as what they should be.
    #[test]
    fn parse() {
        for text in [deployment("v1", 3), service()] {
            let object = client::Object::new(text.into()).unwrap();
            assert_eq!((object.name(), object.namespace()), ("hello", "default"));
            object.parse().unwrap();
        }
    }
}
