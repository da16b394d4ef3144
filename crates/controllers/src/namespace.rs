//! Empties a namespace that is being deleted, then lets it go.
//!
//! Source: kubernetes v1.36 pkg/controller/namespace/deletion/namespaced_resources_deleter.go,
//! status_condition_utils.go.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use base::Chain;
use client::{Cache, DeleteOptions, Error, Key, ListOptions, Propagation, WorkQueue};
use schema::Dom;

use crate::context::{Context, work};
use crate::discovery::{self, Served};
use crate::namespace::plan::{Found, Remaining, plan};

/// How soon an unfinished namespace is looked at again: contents end by their own events, which
/// are not watched here.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN_AT_MOST: u32 = 5;

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<String>> = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let namespaces = context.informers.of("", "v1", "namespaces");
    let namespaces = namespaces.on_change(move |change| {
        if let Some(new) = &change.new {
            add.add(new.name().to_owned());
        }
    });
    let namespaces = namespaces.cache();
    let (own, again) = (context.clone(), queue.clone());
    work("namespace-controller", &context, &queue, move |name| {
        let (context, namespaces, again) = (own.clone(), namespaces.clone(), again.clone());
        async move {
            if let Some(rounds) = sync(&context, &namespaces, &name).await? {
                again.add_after(name, LOOK_AGAIN * rounds.clamp(1, LOOK_AGAIN_AT_MOST));
            }
            Ok(())
        }
    });
}

/// `Some`: there is something left; look again after so many seconds.
async fn sync(context: &Context, namespaces: &Cache, name: &str) -> Result<Option<u32>, Error> {
    let Some(object) = namespaces.get(&Key::new("", name)) else {
        return Ok(None);
    };
    let Ok(dom) = object.parse() else {
        return Ok(None);
    };
    let namespace = dom.as_ref();
    let deleting = namespace
        .get("metadata")
        .is_some_and(|m| !m.str("deletionTimestamp").is_empty());
    let ours = namespace.get("spec").is_some_and(|spec| {
        spec.items("finalizers")
            .any(|f| f.as_str() == Some("kubernetes"))
    });
    if !deleting || !ours {
        return Ok(None);
    }
    let found = empty(context, name).await?;
    let plan = plan(&found);
    let api = context.client.resource(&Gvr::new("", "v1", "namespaces"));
    let current = match api.find(name).await? {
        Some(current) if current.uid() == object.uid() => current,
        _ => return Ok(None),
    };
    let Ok(mut dom) = current.parse() else {
        return Ok(None);
    };
    let root = dom.root();
    if plan.finished {
        remove_finalizer(&mut dom);
        let json = dom.to_json(root);
        return match api.update_subresource(name, "finalize", json).await {
            Ok(_) => Ok(None),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        };
    }
    let now = api::time::format_seconds(context.clock.now());
    let status = dom.ensure_map(root, "status");
    dom.set_str(status, "phase", "Terminating");
    if plan.write_conditions(&mut dom, status, &now) {
        match api
            .update_subresource(name, "status", dom.to_json(root))
            .await
        {
            Ok(_) => {}
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(1))
}

fn remove_finalizer(dom: &mut Dom) {
    let root = dom.root();
    let spec = dom.ensure_map(root, "spec");
    let list = dom.ensure_list(spec, "finalizers");
    let at = dom
        .items(list)
        .position(|item| dom.as_str(item) == Some("kubernetes"));
    if let Some(at) = at {
        dom.remove_item(list, at);
    }
}

/// Deletes everything in the namespace; says what is still there.
async fn empty(context: &Context, namespace: &str) -> Result<Found, Error> {
    let (served, undiscovered) = discovery::served(&context.client).await?;
    let mut found = Found {
        undiscovered,
        ..Found::default()
    };
    let targets = served
        .into_iter()
        .filter(|served| served.namespaced && served.can("delete"));
    let mut targets: Vec<Served> = targets.filter(|served| served.can("list")).collect();
    // Pods last to be asked about, first to be told: they take longest.
    targets.sort_by_key(|served| served.gvr.resource != "pods");
    for served in &targets {
        let api = context.client.namespaced(&served.gvr, namespace);
        let options = DeleteOptions {
            propagation: Some(Propagation::Background),
            ..DeleteOptions::default()
        };
        let result = if served.can("deletecollection") {
            api.delete_collection(&ListOptions::default(), &options)
                .await
        } else {
            delete_each(&api, &options).await
        };
        match result {
            Ok(()) => {}
            Err(error) if matches!(error.code(), 404 | 405) => {}
            Err(error) => found.failures.push(Chain(&error).to_string()),
        }
    }
    for served in &targets {
        let api = context.client.namespaced(&served.gvr, namespace);
        match api.list(&ListOptions::default()).await {
            Ok(list) => {
                for object in list.items {
                    let finalizers = object.parse().map_or_else(
                        |_| Vec::new(),
                        |dom| {
                            let metadata = dom.as_ref().get("metadata");
                            let list = metadata.into_iter().flat_map(|m| m.items("finalizers"));
                            list.filter_map(|f| f.as_str().map(str::to_owned)).collect()
                        },
                    );
                    let resource = match served.gvr.group.as_str() {
                        "" => format!("{}.", served.gvr.resource),
                        group => format!("{}.{group}", served.gvr.resource),
                    };
                    found.remaining.push(Remaining {
                        resource,
                        finalizers,
                    });
                }
            }
            Err(error) if matches!(error.code(), 404 | 405) => {}
            Err(error) => found.failures.push(Chain(&error).to_string()),
        }
    }
    Ok(found)
}

async fn delete_each(api: &client::Api, options: &DeleteOptions) -> Result<(), Error> {
    for object in api.list(&ListOptions::default()).await?.items {
        match api.delete(object.name(), options).await {
            Ok(()) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
