//! Images as volumes of running containers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nodeapi::cri;

use super::{Bed, bed};

fn mount(path: &str, sub_path: &str) -> cri::Mount {
    cri::Mount {
        container_path: path.into(),
        readonly: true,
        image: Some(cri::ImageSpec {
            image: "test:1".into(),
            ..Default::default()
        }),
        image_sub_path: sub_path.into(),
        ..Default::default()
    }
}

fn fill(bed: &Bed) {
    fs::create_dir(bed.images.root.join("data")).unwrap();
    let file = bed.images.root.join("data/file");
    fs::write(&file, "hello\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
}

/// Two mounts of one image outlive the agent and go with the pod; the image is held meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_and_in_part() {
    let Some(mut bed) = bed("imgvol").await else {
        return;
    };
    fill(&bed);
    let sandbox = bed.run("p").await;
    let args = ["cat", "/all/data/file", "cat", "/part/file", "sleep", "60"];
    let mut config = bed.config("a", &args);
    config.mounts = vec![mount("/all", ""), mount("/part", "data")];
    let id = bed.create(&sandbox, config).await.unwrap();
    bed.start(&id).await.unwrap();
    bed.wait_log("a", "hello\nstdout F hello\n").await;
    bed.reopen().await;
    let mut held = bed.images.held.lock().clone();
    held.sort();
    let volumes = [0, 1].map(|number| format!("{id}/images/{number}"));
    assert_eq!(held, [&id, &volumes[0], &volumes[1]].map(String::clone));
    let read = ["/prog", "cat", "/part/file"];
    assert_eq!(bed.exec(&id, &read, 5).await.unwrap().stdout, b"hello\n");
    // Read-only, and no programs.
    let write = ["/prog", "write", "/all/data/file"];
    bed.exec(&id, &write, 5).await.unwrap();
    let file = fs::read_to_string(bed.images.root.join("data/file")).unwrap();
    assert_eq!(file, "hello\n");
    let run = bed.exec(&id, &["/all/prog", "echo", "x"], 5).await;
    assert!(run.is_err() || run.unwrap().exit_code != 0);
    let status = bed.status(&id).await;
    assert_eq!(status.mounts[1].image.as_ref().unwrap().image, "test:1");
    bed.remove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_mounted_leaves_nothing() {
    let Some(bed) = bed("imgbad").await else {
        return;
    };
    fill(&bed);
    let sandbox = bed.run("p").await;
    let writable = cri::Mount {
        readonly: false,
        ..mount("/all", "")
    };
    let absent = cri::Mount {
        image: Some(cri::ImageSpec {
            image: "test:2".into(),
            ..Default::default()
        }),
        ..mount("/all", "")
    };
    for bad in [
        writable,
        absent,
        mount("/all", "nowhere"),
        mount("/all", "data/file"),
    ] {
        let mut config = bed.config("a", &["exit", "0"]);
        config.mounts = vec![mount("/good", ""), bad];
        let error = bed.create(&sandbox, config).await.unwrap_err();
        assert!(
            error.message.starts_with("ImageVolumeMountFailed: "),
            "{error}"
        );
        assert!(bed.images.held.lock().is_empty());
    }
    bed.remove_all().await;
}
