//! Server-side apply, and the field managers of objects that someone applied to.
//!
//! Objects that nobody ever applied to carry no managers: their first apply finds everything in
//! the hands of `before-first-apply`, as upstream does for objects older than the feature.
//! Source: kubernetes v1.36.3 apiserver/pkg/endpoints/handlers/patch.go applyPatcher.

use api::{Cause, FieldError, Gk, Path, Status};
use schema::Dom;
use schema::apply::{self, ApplyError};
use transport::{Request, Response};

use super::{Call, body_of, findings, warn};
use crate::negotiate::Encoding;
use crate::options::WriteOptions;
use crate::verbs::Changed;
use crate::{codec, object};

pub(super) fn is_apply(request: &Request) -> bool {
    let value = request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    value.is_some_and(|value| {
        value.split(';').next().unwrap_or("").trim() == "application/apply-patch+yaml"
    })
}

impl Call {
    /// The request as the field managers see it; the time lives in the caller.
    fn writer<'a>(
        &'a self,
        options: &'a WriteOptions,
        subresource: &'a str,
        api_version: &'a str,
        time: &'a str,
    ) -> Option<apply::Request<'a>> {
        let view = self.written_view();
        let (table, ty) = codec::type_of(view, &self.resource().kind)?;
        Some(apply::Request {
            table,
            ty,
            api_version,
            kind: &self.resource().kind,
            manager: &options.manager,
            subresource,
            time,
            ignored: None,
        })
    }

    /// Records an update of an object that has managers.
    pub(super) fn track(
        &self,
        new: &mut Dom,
        old: &Dom,
        subresource: &str,
        options: &WriteOptions,
    ) {
        let tracked = old.at(old.root(), &["metadata", "managedFields"]).is_some();
        let root = new.root();
        if !tracked {
            let map = new.ensure_map(root, "metadata");
            new.remove(map, "managedFields");
            return;
        }
        let api_version = self.written_view().api_version();
        let time = api::time::format_seconds(self.server.config.clock.now());
        if let Some(request) = self.writer(options, subresource, &api_version, &time) {
            apply::update(&request, Some(old), new);
        }
    }

    /// Fields that the type does not have: refused however strict the request is, since nobody
    /// could own them.
    fn fits(&self, body: &[u8], options: &WriteOptions, part: &str) -> Result<(), Status> {
        if self.view().convert.is_some() {
            return Ok(());
        }
        let parsed = schema::yaml::parse(body, &codec::LIMITS);
        let mut config = parsed
            .map_err(|error| Status::bad_request(&error.to_string()))?
            .dom;
        let root = config.root();
        let api_version = self.written_view().api_version();
        config.set_str(root, "apiVersion", &api_version);
        let Some(writer) = self.writer(options, part, &api_version, "") else {
            return Ok(());
        };
        match apply::apply(&writer, None, &config, false) {
            Err(error @ ApplyError::Typed { .. }) => Err(refusal(error)),
            _ => Ok(()),
        }
    }

    pub(super) async fn apply(
        self,
        request: Request,
        subresource: &str,
        mut options: WriteOptions,
    ) -> Result<Response, Status> {
        let gk = Gk::new("meta.k8s.io", "PatchOptions");
        if options.manager.is_empty() {
            let at = Path::new("fieldManager");
            let error = FieldError::required(&at, "is required for apply patch");
            return Err(Status::invalid(&gk, "", &[error]));
        }
        let body = body_of(request).await?;
        let gvk = self.resource().gvk(self.view());
        let types = codec::type_of(self.view(), &self.resource().kind);
        let sent = schema::yaml::parse(&body, &codec::LIMITS);
        if let Err(error @ schema::yaml::YamlError::Syntax { .. }) = &sent {
            // This reader names the first line, too.
            let cause = error.to_string();
            let cause = match cause.strip_prefix("yaml: ") {
                Some(rest) if !rest.starts_with("line ") => format!("yaml: line 1: {rest}"),
                _ => cause,
            };
            return Err(Status::bad_request(&format!(
                "error decoding YAML: error converting YAML to JSON: {cause}"
            )));
        }
        if let Ok(sent) = sent {
            let sent = api::meta::gvk(sent.dom.as_ref());
            if (&sent.group, &sent.kind) != (&gvk.group, &gvk.kind) || sent.version.is_empty() {
                return Err(Status::bad_request(&format!(
                    "invalid object type: {}/{}, Kind={}",
                    sent.group, sent.version, sent.kind
                )));
            }
        }
        let decoded = codec::decode(types, &gvk, Encoding::Yaml, &body)?;
        if decoded
            .findings
            .iter()
            .any(|found| found.starts_with("unknown field"))
        {
            self.fits(&body, &options, subresource)?;
        }
        let warnings = findings(&gvk, &options, decoded.findings)?;
        let mut config = decoded.dom;
        let name = self.info.name.clone();
        let given = api::meta::of(config.as_ref()).name().to_owned();
        if !given.is_empty() && given != name {
            return Err(Status::bad_request(&format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        let root = config.root();
        let map = config.ensure_map(root, "metadata");
        config.set_str(map, "name", &name);
        if self.resource().is_namespaced() {
            config.set_str(map, "namespace", &self.info.namespace);
        }
        if config.get(map, "managedFields").is_some() {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        if let Some((to_stored, _)) = self.view().convert {
            to_stored(&mut config);
        }
        let api_version = self.written_view().api_version();
        config.set_str(root, "kind", &gvk.kind);
        config.set_str(root, "apiVersion", &api_version);
        let time = api::time::format_seconds(self.server.config.clock.now());
        options.managed = true;
        let force = options.force.unwrap_or(false);
        let one = |live: Option<&Dom>| -> Result<Dom, Status> {
            let Some(writer) = self.writer(&options, subresource, &api_version, &time) else {
                return Err(Status::internal("the kind has no type"));
            };
            let mut dom = apply::apply(&writer, live, &config, force).map_err(refusal)?;
            let root = dom.root();
            let map = dom.ensure_map(root, "metadata");
            if config
                .at(config.root(), &["metadata", "resourceVersion"])
                .is_none()
            {
                dom.remove(map, "resourceVersion");
            }
            self.default(&mut dom);
            Ok(dom)
        };
        let absent = if subresource.is_empty() {
            Some(one(None)?)
        } else {
            None
        };
        let exists = self.read(&name).is_ok();
        let absent = if exists { None } else { absent };
        let changed: Changed = self
            .change(&name, subresource, &options, absent, &mut |old| {
                let mut live = old.clone();
                object::to_view(self.resource(), self.written_view(), &mut live);
                one(Some(&live))
            })
            .await?;
        Ok(warn(self.answer_changed(changed).await?, &warnings))
    }
}

fn refusal(error: ApplyError) -> Status {
    match error {
        ApplyError::Conflicts { message, conflicts } => {
            let causes: Vec<Cause> = conflicts
                .iter()
                .map(|conflict| Cause {
                    reason: "FieldManagerConflict".to_owned(),
                    message: format!("conflict with {}", conflict.manager),
                    field: conflict.path.clone(),
                })
                .collect();
            Status::apply_conflict(causes, &message)
        }
        ApplyError::Typed { .. } => Status::other(500, "", &error.to_string()),
        other => Status::bad_request(&other.to_string()),
    }
}
