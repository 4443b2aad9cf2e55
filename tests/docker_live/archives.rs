//! Images as archives.

use std::fs::File;

use xtask::docker::Builder;
use xtask::model::{ImageRef, StopToken};

use crate::support::{LABEL, Lab, output, tool, unique};

#[test]
fn an_image_survives_save_and_load() {
    let mut lab = Lab::new("save", Builder::Auto);
    let image = lab.build("FROM scratch\nCOPY tool /tool\n").unwrap().image;
    let archive = tempfile::NamedTempFile::new().unwrap();
    let docker = lab.docker.clone();
    let size = docker.save(&[&lab.tag()], &mut archive.as_file(), &StopToken::new()).unwrap();
    assert_eq!(size, archive.as_file().metadata().unwrap().len());
    docker.remove_image(&image, true).unwrap();
    assert_eq!(docker.find_image(&image).unwrap(), None);
    let names = docker.load(Box::new(File::open(archive.path()).unwrap()), &StopToken::new()).unwrap();
    assert_eq!(names, [lab.tag()]);
    assert_eq!(docker.image(&lab.tag()).unwrap().id, image);
    let copied = docker.copy_to(&docker, &[&lab.tag()], &[], &mut |_| {}, &StopToken::new()).unwrap();
    assert_eq!((copied.names, copied.kept), (vec![lab.tag()], 1), "an engine has all layers of its own images");
    let missing = unique("missing");
    assert!(docker.save(&[&missing], &mut Vec::new(), &StopToken::new()).unwrap_err().is_not_found());
    assert!(docker.copy_to(&docker, &[&missing], &[], &mut |_| {}, &StopToken::new()).unwrap_err().is_not_found());
    assert!(docker.load(Box::new(&b"no archive at all"[..]), &StopToken::new()).is_err());
}

#[test]
fn a_root_file_system_becomes_an_image() {
    let docker = crate::support::engine();
    let archive = tempfile::NamedTempFile::new().unwrap();
    let mut tar = tar::Builder::new(archive.as_file());
    tar.append_path_with_name(tool(), "tool").unwrap();
    tar.finish().unwrap();
    let name = ImageRef::parse(&format!("{}:1", unique("rootfs"))).unwrap();
    let changes = ["CMD [\"/tool\", \"say\", \"a&b\"]", &format!("LABEL {LABEL}=docker"), "ENV A=1"].map(str::to_owned);
    let id = docker.import(archive.path(), Some(&name), &changes, &StopToken::new()).unwrap();
    let image = docker.image(&name.to_string()).unwrap();
    assert_eq!((image.id.as_str(), image.cmd.len(), image.layers.len()), (id.as_str(), 3, 1));
    assert_eq!(image.labels.get(LABEL).map(String::as_str), Some("docker"));
    assert_eq!(output(&id, &["env", "A"]), "1\n");
    let listed = docker.images_with_label(&format!("{LABEL}=docker")).unwrap();
    assert!(listed.iter().any(|image| image.id == id && image.tags == [name.to_string()]), "{listed:?}");
    assert_eq!(docker.images_named(&name.name).unwrap().len(), 1);
    assert_eq!(docker.remove_image(&id, true).unwrap().len(), 2, "the image and its layer");
}
