//! Profile folders: what is written is what is read, they appear whole or not at all, and damage is named.

mod synthetic;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use memloupe::profile::{Destination, Profile, ProfileError, SUMMARY_FILE};

fn write(folder: &Path, profile: &Profile) -> Result<PathBuf, ProfileError> {
    let destination = Destination::prepare(folder)?;
    destination.write(profile)?;
    destination.write_file("report.html", b"page")?;
    destination.commit()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read() {
    let place = tempfile::tempdir().expect("a folder");
    for seed in 0..40 {
        let profile = synthetic::random(seed);
        let folder = write(&place.path().join(format!("{seed}")), &profile).expect("a profile");
        let read = Profile::read(&folder).expect("the profile");
        assert!(read == profile, "seed {seed}");
    }
    let profile = synthetic::transformer(4, 3);
    let folder = write(&place.path().join("p"), &profile).expect("a profile");
    assert!(Profile::read(&folder).expect("the profile") == profile);
    assert_eq!(
        names(&folder),
        [
            "contexts.parquet",
            "objects.parquet",
            "profile.json",
            "report.html",
            "sites.parquet",
            "timeline.parquet",
            "traffic.parquet"
        ]
    );
}

#[test]
fn more_rows_than_a_row_group_holds() {
    let place = tempfile::tempdir().expect("a folder");
    let mut profile = synthetic::transformer(2, 2);
    let rows = profile.traffic.clone();
    profile.traffic = rows.iter().cycle().take(70_000).cloned().collect();
    let profile = profile.seal();
    let folder = write(&place.path().join("p"), &profile).expect("a profile");
    assert!(Profile::read(&folder).expect("the profile") == profile);
}

#[test]
fn an_older_profile_is_kept_once() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("p");
    let profiles: Vec<Profile> = (1..4).map(|layers| synthetic::transformer(layers, 1)).collect();
    for profile in &profiles {
        write(&folder, profile).expect("a profile");
    }
    assert!(Profile::read(&folder).expect("the newest") == profiles[2]);
    assert!(Profile::read(&place.path().join("p.old")).expect("the one before") == profiles[1]);
    assert_eq!(names(place.path()), ["p", "p.old"]);
}

#[test]
fn what_is_no_profile_is_left_alone() {
    let place = tempfile::tempdir().expect("a folder");
    let mine = place.path().join("mine");
    fs::create_dir(&mine).expect("a folder");
    fs::write(mine.join("thesis.tex"), "years").expect("a file");
    let file = place.path().join("file");
    fs::write(&file, "text").expect("a file");
    let shadowed = place.path().join("p");
    fs::create_dir(place.path().join("p.old")).expect("a folder");
    fs::write(place.path().join("p.old/thesis.tex"), "years").expect("a file");
    for folder in [&mine, &file, &shadowed, Path::new("/")] {
        let error = Destination::prepare(folder).expect_err("foreign");
        assert!(
            matches!(error, ProfileError::Foreign(_)),
            "{}: {error}",
            folder.display()
        );
        assert!(error.to_string().contains("is left alone"), "{error}");
    }
    assert_eq!(names(place.path()), ["file", "mine", "p.old"]);
    assert_eq!(
        fs::read_to_string(mine.join("thesis.tex")).expect("the file"),
        "years"
    );
    // Something that appears while the program runs is as safe.
    let late = place.path().join("late");
    let destination = Destination::prepare(&late).expect("nothing there yet");
    destination
        .write(&synthetic::transformer(1, 1))
        .expect("written beside");
    fs::create_dir(&late).expect("a folder");
    fs::write(late.join("thesis.tex"), "years").expect("a file");
    assert!(matches!(destination.commit(), Err(ProfileError::Foreign(_))));
    assert_eq!(names(place.path()), ["file", "late", "mine", "p.old"]);
}

#[test]
fn empty_folders_links_and_missing_parents_will_do() {
    let place = tempfile::tempdir().expect("a folder");
    let profile = synthetic::transformer(1, 1);
    let empty = place.path().join("empty");
    fs::create_dir(&empty).expect("a folder");
    write(&empty, &profile).expect("into an empty folder");
    let link = place.path().join("link");
    std::os::unix::fs::symlink(&empty, &link).expect("a link");
    write(&link, &profile).expect("through a link");
    assert!(link.is_symlink() && Profile::read(&link).is_ok() && place.path().join("empty.old").is_dir());
    let deep = write(&place.path().join("a/b/c"), &profile).expect("parents are made");
    assert_eq!(
        fs::metadata(&deep).expect("a folder").permissions().mode() & 0o700,
        0o700
    );
}

#[test]
fn an_abandoned_destination_leaves_no_trace() {
    let place = tempfile::tempdir().expect("a folder");
    let destination = Destination::prepare(&place.path().join("p")).expect("claimed");
    destination.write(&synthetic::transformer(1, 1)).expect("written");
    assert_eq!(names(place.path()).len(), 1, "the staging folder");
    drop(destination);
    assert!(names(place.path()).is_empty());
}

#[test]
fn places_that_cannot_be_written_are_named_before_the_run() {
    // Not even root can make a folder here.
    let error = Destination::prepare(Path::new("/proc/self/p")).expect_err("no folder can be made there");
    assert!(matches!(error, ProfileError::Write { .. }), "{error:?}");
    assert!(
        error.to_string().starts_with("cannot write /proc/self/p: "),
        "{error}"
    );
    let place = tempfile::tempdir().expect("a folder");
    fs::write(place.path().join("file"), "").expect("a file");
    let below = place.path().join("file/p");
    let error = Destination::prepare(&below)
        .expect_err("a file is no folder")
        .to_string();
    assert!(
        error.contains(&below.display().to_string()) && error.contains("ot a directory"),
        "{error}"
    );
}

#[test]
fn damage_is_named_with_its_file() {
    let place = tempfile::tempdir().expect("a folder");
    let error = Profile::read(&place.path().join("none")).expect_err("nothing there");
    assert!(matches!(error, ProfileError::Missing(_)), "{error}");
    let error = Profile::read(place.path()).expect_err("an empty folder");
    assert!(matches!(error, ProfileError::NotAProfile(_)), "{error}");

    let folder = write(&place.path().join("p"), &synthetic::transformer(2, 1)).expect("a profile");
    for name in names(&folder).into_iter().filter(|name| name != "report.html") {
        let path = folder.join(&name);
        let whole = fs::read(&path).expect("the file");
        for keep in [0, 1, whole.len() / 2, whole.len() - 2] {
            fs::write(&path, &whole[..keep]).expect("a truncated file");
            let error = Profile::read(&folder).expect_err("damaged");
            assert!(
                matches!(&error, ProfileError::Damaged { file, .. } if *file == path),
                "{name} {keep}: {error}"
            );
        }
        fs::remove_file(&path).expect("removed");
        let error = Profile::read(&folder).expect_err("incomplete").to_string();
        assert!(error.contains(&name), "{error}");
        fs::write(&path, &whole).expect("mended");
    }
    Profile::read(&folder).expect("mended");
}

#[test]
fn tables_that_do_not_fit_together_are_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let [small, large] = [1, 5].map(|layers| {
        write(
            &place.path().join(format!("{layers}")),
            &synthetic::transformer(layers, 1),
        )
        .expect("a profile")
    });
    for name in ["traffic.parquet", "contexts.parquet"] {
        let whole = fs::read(large.join(name)).expect("the file");
        fs::copy(small.join(name), large.join(name)).expect("another profile's table");
        let error = Profile::read(&large).expect_err("they do not fit");
        assert!(matches!(error, ProfileError::Damaged { .. }), "{name}: {error}");
        fs::write(large.join(name), whole).expect("mended");
    }
}

#[test]
fn a_newer_schema_is_refused_and_an_unknown_field_is_not() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = write(&place.path().join("p"), &synthetic::transformer(1, 1)).expect("a profile");
    let path = folder.join(SUMMARY_FILE);
    let json = fs::read_to_string(&path).expect("the summary");
    fs::write(&path, json.replacen('{', "{ \"from_the_future\": [1],", 1)).expect("written");
    Profile::read(&folder).expect("a field more does not hurt");
    fs::write(
        &path,
        json.replacen("\"schema_version\": 1", "\"schema_version\": 999", 1),
    )
    .expect("written");
    let error = Profile::read(&folder).expect_err("newer");
    assert!(
        matches!(
            error,
            ProfileError::Newer {
                schema_version: 999,
                ..
            }
        ),
        "{error}"
    );
}
