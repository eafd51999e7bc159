//! Several machines simulated from one run of the program.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, Output};

use memloupe_tests::{Capture, Program, Rows, Summary, memloupe};

fn report(profile: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(memloupe());
    command.arg("report").arg(profile).args(options);
    command.output().expect("memloupe report")
}

#[test]
fn each_machine_has_a_profile_and_all_can_be_compared() {
    let program = Program::compile("kernels", &[]);
    let n: u64 = 1 << 17; // 1 MiB each
    let capture = Capture::success(
        &[
            "--check",
            "--machine",
            "embedded",
            "--machine",
            "desktop",
            "--engine",
            "native",
        ],
        program.path(),
        &["copy".to_owned(), n.to_string()],
    );
    assert!(!capture.stderr().contains("differ"), "{}", capture.stderr());
    let first = capture.profile();
    let second = first.join("machines").join("desktop");
    let (embedded, desktop) = (Summary::read(&first), Summary::read(&second));
    for summary in [&embedded, &desktop] {
        assert_eq!(
            summary.get("machines"),
            &serde_json::json!(["embedded", "desktop"])
        );
    }
    assert_eq!(desktop.get("machine")["name"], "desktop");
    // What the program did is the same, what the machines made of it is not.
    for column in ["accesses", "instructions", "footprint_bytes", "l1d_accesses"] {
        assert_eq!(embedded.total(column), desktop.total(column), "{column}");
    }
    assert!(embedded.total("l1d_misses") >= desktop.total("l1d_misses"));
    assert!(desktop.total("l3_misses") > 0);
    let lines = 2 * n * 8 / 64;
    for folder in [&first, &second] {
        let copy = Rows::read(folder, "function,class");
        let copy = copy.matching(&[("function", "copy"), ("class", "heap")]);
        assert!(copy.sum("l1d_misses") >= lines && copy.sum("l1d_misses") <= lines + 4);
    }

    let named = report(
        &first,
        &["--machine", "desktop", "--by", "function", "--format", "json"],
    );
    let direct = report(&second, &["--by", "function", "--format", "json"]);
    assert!(named.status.success() && named.stdout == direct.stdout);
    let all = report(
        &first,
        &[
            "--machine",
            "all",
            "--by",
            "function",
            "--sort",
            "l1d_misses",
            "--format",
            "json",
        ],
    );
    let rows: serde_json::Value = serde_json::from_slice(&all.stdout).expect("JSON");
    let sum = |column: &str| -> u64 {
        let rows = rows.as_array().expect("rows").iter();
        rows.map(|row| row[column].as_u64().expect(column)).sum()
    };
    assert_eq!(sum("l1d_misses@embedded"), embedded.total("l1d_misses"));
    assert_eq!(sum("l1d_misses@desktop"), desktop.total("l1d_misses"));

    for (options, words) in [
        (&["--machine", "host"][..], "embedded, desktop"),
        (&["--machine", "all", "--table", "mrc"], "name one of them"),
        (&["--machine", "all", "--sort", "l3_misses"], "l3_misses"),
    ] {
        let refused = report(&first, options);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(words), "{said}");
    }
}

#[test]
fn machines_that_cannot_be_combined() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let wide = folder.path().join("wide.toml");
    let text = "extends = \"embedded\"\nname = \"wide\"\n[cache.l1d]\nline = \"128\"\n[cache.l1i]\nline = \"128\"\n[cache.l2]\nline = \"128\"\n";
    std::fs::write(&wide, text.replace("\"128\"", "\"128 B\"")).expect("machine file");
    let wide = wide.to_str().expect("UTF-8");
    for (other, words) in [
        ("none", "cannot be combined"),
        ("embedded", "another name"),
        (wide, "--analyses none"),
    ] {
        let output = Command::new(memloupe())
            .args(["run", "--machine", "embedded", "--machine", other, "-o"])
            .arg(folder.path().join("profile"))
            .args(["--", "true"])
            .output()
            .expect("memloupe");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(120) && said.contains(words),
            "{said}"
        );
    }
}

#[test]
fn several_memories_share_the_traffic_by_class() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let tiered = folder.path().join("tiered.toml");
    let text =
        "extends = \"cxl-server\"\n[cache.l3]\nsize = \"240 KiB\"\n[memory.tier.cxl]\nclasses = \"heap\"\n";
    std::fs::write(&tiered, text).expect("machine file");
    let program = Program::compile("kernels", &[]);
    let n: u64 = 1 << 19; // 4 MiB each
    let capture = Capture::success(
        &["--machine", tiered.to_str().expect("UTF-8"), "--engine", "native"],
        program.path(),
        &["copy".to_owned(), n.to_string()],
    );
    let profile = capture.profile();
    let summary = Summary::read(&profile);
    assert_eq!(summary.get("tiers"), &serde_json::json!(["ddr", "cxl"]));
    for (all, near, far) in [
        ("dram_read_bytes", "ddr_read_bytes", "cxl_read_bytes"),
        ("dram_write_bytes", "ddr_write_bytes", "cxl_write_bytes"),
    ] {
        assert_eq!(
            summary.total(all),
            summary.total(near) + summary.total(far),
            "{all}"
        );
    }
    let rows = Rows::read(&profile, "function,class");
    let copy = rows.matching(&[("function", "copy"), ("class", "heap")]);
    // A page that another class touches first, as the allocator does those of its headers, is not at the expander.
    assert!(copy.sum("cxl_read_bytes") >= 2 * n * 8 - 4 * 4096);
    assert_eq!(rows.matching(&[("class", "code")]).sum("cxl_read_bytes"), 0);
    assert!(capture.stderr().contains("cxl read"), "{}", capture.stderr());

    let wrong = folder.path().join("wrong.toml");
    std::fs::write(&wrong, text.replace("heap", "heaps")).expect("machine file");
    let refused = Command::new(memloupe())
        .args(["machine", "check"])
        .arg(&wrong)
        .output()
        .expect("memloupe");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("did you mean 'heap'?"),
        "{said}"
    );
}

#[test]
fn memories_whose_cells_wear_out_say_how_long_they_last() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flash = folder.path().join("flash.toml");
    let text = "extends = \"flash-accelerator\"\n[cache.sram]\nsize = \"256 KiB\"\n[memory.tier.flash]\nclasses = \"heap\"\n";
    std::fs::write(&flash, text).expect("machine file");
    let program = Program::compile("kernels", &[]);
    let n: u64 = 1 << 19; // 4 MiB each
    let (flash, mram) = (flash.to_str().expect("UTF-8"), "mram-embedded");
    for (machine, memory, technology, unit_bytes, written) in [
        (mram, "memory", "stt-mram", 64, "dram_write_bytes"),
        (flash, "flash", "high-bandwidth-flash", 4096, "flash_write_bytes"),
    ] {
        let arguments = ["copy".to_owned(), n.to_string()];
        let capture = Capture::success(&["--machine", machine], program.path(), &arguments);
        let summary = Summary::read(&capture.profile());
        let wear = &summary.get("wear")[0];
        assert_eq!(
            (wear["memory"].as_str(), wear["technology"].as_str()),
            (Some(memory), Some(technology))
        );
        assert_eq!(wear["unit_bytes"], unit_bytes);
        let writes = wear["writes"].as_u64().expect("a count");
        let lines = summary.total(written) / 64;
        // Every line once, or each page of neighbouring lines at least once.
        if unit_bytes == 64 {
            assert_eq!(writes, lines);
        } else {
            assert!(
                (lines * 64 / unit_bytes..=lines).contains(&writes),
                "{writes} of {lines} lines"
            );
        }
        let most = wear["most_writes"].as_u64().expect("a count");
        assert!((1..=writes).contains(&most));
        let number = |key: &str| wear[key].as_f64().expect("a number");
        let seconds = number("endurance") / most as f64 * number("seconds");
        assert!((number("wear_s") / seconds - 1.0).abs() < 1e-9);
        assert!(number("levelled_wear_s") > number("wear_s"));
        assert!(
            capture.stderr().contains(&format!("{memory} is {technology}: ")),
            "{}",
            capture.stderr()
        );
    }
}
