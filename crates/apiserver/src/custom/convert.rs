//! Custom resources between versions whose definition names a conversion webhook.
//!
//! Stored objects say in which version they were written. Everything between the store and the
//! client happens in the version of the request: [`Call::seen`] turns stored objects into it,
//! [`Call::to_storage`] turns what will be written into the stored one. Objects that are already
//! in the wanted version are not sent.
//! Source: apiextensions-apiserver v0.36.3 pkg/apiserver/conversion/webhook_converter.go.

use std::time::Duration;

use api::Status;
use bytes::Bytes;
use registry::{Resource, View};
use schema::{Dom, Ref};
use store::{Event, EventKind, KeyValue};

use crate::codec;
use crate::outbound::Backend;
use crate::verbs::Call;

/// A conversion may take this long.
const LIMIT: Duration = Duration::from_secs(30);

/// The webhook of a definition.
struct Hook {
    backend: Backend,
    /// `v1` or `v1beta1`
    review: &'static str,
}

fn strategy(resource: &Resource) -> Option<Ref<'_>> {
    let definition = resource.definition.as_deref()?;
    let conversion = definition.as_ref().at(&["spec", "conversion"])?;
    (conversion.str("strategy") == "Webhook").then_some(conversion)
}

fn hook(resource: &Resource) -> Option<Hook> {
    let webhook = strategy(resource)?.get("webhook")?;
    let review = webhook
        .items("conversionReviewVersions")
        .find_map(|version| {
            ["v1", "v1beta1"]
                .into_iter()
                .find(|known| version.as_str() == Some(known))
        })?;
    let backend = Backend::of(webhook.get("clientConfig")?)?;
    Some(Hook { backend, review })
}

/// The version that a stored object says it was written in.
fn written(resource: &Resource, dom: &Dom) -> String {
    match dom.as_ref().str("apiVersion") {
        "" => resource.storage().api_version(),
        version => version.to_owned(),
    }
}

impl Call {
    /// Whether a webhook turns stored objects into what clients see.
    pub(crate) fn converts(&self) -> bool {
        self.resource().definition.is_some() && strategy(self.resource()).is_some()
    }

    /// A stored value as the request's version has it.
    pub(crate) async fn seen_value(&self, value: &Bytes) -> Result<Bytes, Status> {
        if !self.converts() {
            return Ok(value.clone());
        }
        let mut values = Box::pin(self.translate(vec![value.clone()])).await?;
        Ok(values.pop().unwrap_or_default())
    }

    /// The same for what a page of the store gives.
    pub(crate) async fn seen(&self, mut items: Vec<KeyValue>) -> Result<Vec<KeyValue>, Status> {
        if !self.converts() || items.is_empty() {
            return Ok(items);
        }
        let values = items.iter().map(|kv| kv.value.clone()).collect();
        let values = Box::pin(self.translate(values)).await?;
        for (kv, value) in items.iter_mut().zip(values) {
            kv.value = value;
        }
        Ok(items)
    }

    /// An event in the request's version; none: it is already.
    pub(crate) async fn seen_event(&self, event: &Event) -> Result<Option<Event>, Status> {
        if !self.converts() {
            return Ok(None);
        }
        let mut event = event.clone();
        let kv = (event.kind == EventKind::Put).then_some(&mut event.kv);
        for kv in kv.into_iter().chain(event.prev.as_mut()) {
            kv.value = self.seen_value(&kv.value).await?;
        }
        Ok(Some(event))
    }

    /// An object of the request's version as it is stored.
    pub(crate) async fn to_storage(&self, dom: Dom) -> Result<Dom, Status> {
        let (view, stored) = (self.view(), self.resource().storage());
        if !self.converts() || view.version == stored.version {
            return Ok(dom);
        }
        Box::pin(self.between(dom, view, stored)).await
    }

    /// An object of one version as another has it.
    pub(crate) async fn between(
        &self,
        mut dom: Dom,
        from: &View,
        to: &View,
    ) -> Result<Dom, Status> {
        if !self.converts() || from.version == to.version {
            return Ok(dom);
        }
        let root = dom.root();
        dom.set_str(root, "apiVersion", &from.api_version());
        let mut all = self.convert(vec![dom], &to.api_version()).await?;
        Ok(all.pop().unwrap_or_default())
    }

    async fn translate(&self, values: Vec<Bytes>) -> Result<Vec<Bytes>, Status> {
        let (resource, view) = (self.resource(), self.view());
        let wanted = view.api_version();
        let mut out = values;
        let mut places = Vec::new();
        let mut objects = Vec::new();
        for (place, value) in out.iter().enumerate() {
            let Ok(mut dom) = Dom::parse_json(value) else {
                continue;
            };
            let version = written(resource, &dom);
            if version != wanted {
                let root = dom.root();
                dom.set_str(root, "apiVersion", &version);
                places.push(place);
                objects.push(dom);
            }
        }
        if objects.is_empty() {
            return Ok(out);
        }
        let converted = self.convert(objects, &wanted).await?;
        for (place, mut dom) in places.into_iter().zip(converted) {
            out[place] = codec::to_stored_as(resource, &wanted, &mut dom);
        }
        Ok(out)
    }

    /// Asks the webhook. All objects say their version.
    async fn convert(&self, mut objects: Vec<Dom>, wanted: &str) -> Result<Vec<Dom>, Status> {
        let kind = &self.resource().kind;
        let gvk = format!(
            "{}, Kind={kind}",
            objects
                .first()
                .map_or("", |dom| dom.as_ref().str("apiVersion"))
        );
        let failed = |cause: &str| {
            Status::other(
                500,
                "",
                &format!("conversion webhook for {gvk} failed: {cause}"),
            )
        };
        let Some(hook) = hook(self.resource()) else {
            return Err(failed("the definition names no webhook that can be asked"));
        };
        for dom in &mut objects {
            let root = dom.root();
            dom.set_str(root, "kind", kind);
        }
        let uid = self.server.uid();
        let body = review(&hook, &uid, &objects, wanted);
        let sent = self.server.outbound.post(&hook.backend, body, LIMIT).await;
        let answer = sent.map_err(|error| failed(&error.to_string()))?;
        let answer = Dom::parse_json(&answer).map_err(|error| failed(&error.to_string()))?;
        let root = answer.as_ref();
        let Some(response) = root.get("response").filter(|of| !of.is_null()) else {
            return Err(failed("no response provided"));
        };
        if hook.review == "v1" && response.str("uid") != uid {
            return Err(failed(&format!(
                "expected response.uid={uid:?}, got {:?}",
                response.str("uid")
            )));
        }
        let result = response.get("result");
        let status = result.map_or("", |of| of.str("status"));
        if status != "Success" {
            let message = result.map_or("", |of| of.str("message"));
            return Err(failed(&match message {
                "" => format!("response.result.status was '{status}', not 'Success'"),
                message => message.to_owned(),
            }));
        }
        let converted: Vec<Ref<'_>> = response.items("convertedObjects").collect();
        if converted.len() != objects.len() {
            return Err(Status::other(
                500,
                "",
                &format!(
                    "conversion webhook for {gvk} returned {} objects, expected {}",
                    converted.len(),
                    objects.len()
                ),
            ));
        }
        let mut out = Vec::with_capacity(objects.len());
        for (index, (old, new)) in objects.iter().zip(converted).enumerate() {
            let invalid = |cause: &str| {
                Status::other(
                    500,
                    "",
                    &format!(
                        "conversion webhook for {gvk} returned invalid converted object at index {index}: {cause}"
                    ),
                )
            };
            let (version, found) = (new.str("apiVersion"), new.str("kind"));
            if version != wanted {
                return Err(invalid(&format!(
                    "invalid groupVersion (expected {wanted}, received {version})"
                )));
            }
            if found != kind {
                return Err(invalid(&format!(
                    "invalid kind (expected {kind}, received {found})"
                )));
            }
            out.push(restored(old, new).map_err(|cause| invalid(&cause))?);
        }
        Ok(out)
    }
}

fn review(hook: &Hook, uid: &str, objects: &[Dom], wanted: &str) -> Vec<u8> {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "kind", "ConversionReview");
    let version = format!("apiextensions.k8s.io/{}", hook.review);
    dom.set_str(root, "apiVersion", &version);
    let request = dom.new_map();
    dom.set(root, "request", request);
    dom.set_str(request, "uid", uid);
    dom.set_str(request, "desiredAPIVersion", wanted);
    let list = dom.new_list();
    for object in objects {
        let copy = dom.import(object, object.root());
        dom.push(list, copy);
    }
    dom.set(request, "objects", list);
    dom.to_json(root)
}

/// The converted object with the metadata of the old one: only labels and annotations may change.
fn restored(old: &Dom, new: Ref<'_>) -> Result<Dom, String> {
    let Some(meta) = new.get("metadata") else {
        return Err("missing metadata in converted object".to_owned());
    };
    let own = api::meta::of(old.as_ref());
    for (key, is) in [
        ("name", own.name()),
        ("namespace", own.namespace()),
        ("uid", own.uid()),
    ] {
        let got = meta.str(key);
        if got != is && !(key == "name" && is.is_empty()) {
            return Err(format!("must have the same {key}: {got:?} != {is:?}"));
        }
    }
    let mut dom = Dom::new();
    let root = dom.import(new.dom(), new.node());
    dom.set_root(root);
    let map = match old.get(old.root(), "metadata") {
        Some(meta) => dom.import(old, meta),
        None => dom.new_map(),
    };
    for key in ["labels", "annotations"] {
        match meta.get(key).filter(|of| !of.is_null()) {
            Some(value) => {
                let copy = dom.import(value.dom(), value.node());
                dom.set(map, key, copy);
            }
            None => {
                dom.remove(map, key);
            }
        }
    }
    dom.set(root, "metadata", map);
    Ok(dom)
}
