//! What the kernel reports of this computer, laid over `machines/host.toml`.
//!
//! Read are the caches of cpu 0, the CPUs that share each of them, hyper-thread siblings, and the highest frequency.
//! The machine is the domain of cpu 0's last level: of a computer with several sockets, one. Whatever the kernel
//! does not report, or reports in a form that cannot be simulated, stays as the file has it and is noted.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::machine_file::MachineFile;
use crate::quantity::{BYTES, HERTZ};

/// Where Linux keeps it.
pub(crate) const CPU_FOLDER: &str = "/sys/devices/system/cpu";

/// The caches that `machines/host.toml` has latencies for.
const KNOWN: [&str; 4] = ["l1d", "l1i", "l2", "l3"];

/// One `cache/indexN` folder.
struct Reported {
    name: &'static str,
    contents: &'static str,
    size_bytes: u64,
    ways: u32,
    line_bytes: u64,
    cpus: BTreeSet<u32>,
}

/// Overwrites in `file` what `cpu_folder` reports; returns notes on what it does not.
pub(crate) fn describe(cpu_folder: &Path, file: &mut MachineFile) -> Vec<String> {
    let mut notes = Vec::new();
    let cpu0 = cpu_folder.join("cpu0");
    let only_cpu0 = || BTreeSet::from([0]);
    let online = cpu_list(&cpu_folder.join("online")).unwrap_or_else(only_cpu0);
    let siblings = cpu_list(&cpu0.join("topology/thread_siblings_list")).unwrap_or_else(only_cpu0);

    let caches = reported_caches(&cpu0.join("cache"), &siblings, &mut notes);
    // The list of a last level that a container hides may be absent: then all CPUs share it.
    let domain = caches.last().map_or(&online, |last| &last.cpus);
    let cores = (domain.len() / siblings.len()).max(1);
    file.set_integer("core.count", cores.min(65536) as u32);

    if caches.is_empty() {
        notes.push(format!(
            "the kernel reports no cache in {}: sizes are assumed",
            cpu0.join("cache").display()
        ));
    } else {
        for absent in KNOWN
            .iter()
            .filter(|name| caches.iter().all(|cache| cache.name != **name))
        {
            file.remove_table(&format!("cache.{absent}"));
        }
    }
    for cache in &caches {
        let shared = cores > 1 && cache.cpus == *domain;
        if !shared && cache.cpus.len() > siblings.len() {
            notes.push(format!(
                "{} is shared by {} of {} CPUs: simulated as each core's own",
                cache.name,
                cache.cpus.len(),
                domain.len()
            ));
        }
        let key = |leaf: &str| format!("cache.{}.{leaf}", cache.name);
        file.set_text(&key("contents"), cache.contents);
        file.set_text(&key("scope"), if shared { "shared" } else { "private" });
        file.set_text(&key("size"), BYTES.format(cache.size_bytes as f64));
        file.set_integer(&key("ways"), cache.ways);
        file.set_text(&key("line"), BYTES.format(cache.line_bytes as f64));
    }

    match number(&cpu0.join("cpufreq/cpuinfo_max_freq")) {
        Some(khz) if khz > 0 => file.set_text("core.frequency", HERTZ.format(khz as f64 * 1e3)),
        _ => notes.push("the kernel reports no frequency: it is assumed".into()),
    }
    notes.push("latencies, widths and buffers of the core, and memory are assumed".into());
    notes
}

/// The caches that can be simulated, from the core outwards.
fn reported_caches(folder: &Path, siblings: &BTreeSet<u32>, notes: &mut Vec<String>) -> Vec<Reported> {
    let mut caches: Vec<Reported> = Vec::new();
    for index in (0..)
        .map(|i| folder.join(format!("index{i}")))
        .take_while(|index| index.is_dir())
    {
        match reported_cache(&index, siblings, notes) {
            Ok(cache) if caches.iter().all(|other| other.name != cache.name) => caches.push(cache),
            Ok(cache) => notes.push(format!("{}: a second {}: ignored", index.display(), cache.name)),
            Err(why) => notes.push(format!("{}: {why}: ignored", index.display())),
        }
    }
    caches.sort_by_key(|cache| KNOWN.iter().position(|name| *name == cache.name));
    caches
}

fn reported_cache(
    index: &Path,
    siblings: &BTreeSet<u32>,
    notes: &mut Vec<String>,
) -> Result<Reported, String> {
    let text = |name: &str| {
        let text = fs::read_to_string(index.join(name)).map_err(|_| format!("no {name}"))?;
        Ok::<_, String>(text.trim().to_owned())
    };
    let (name, contents) = match (text("level")?.as_str(), text("type")?.as_str()) {
        ("1", "Data") => ("l1d", "data"),
        ("1", "Unified") => ("l1d", "unified"),
        ("1", "Instruction") => ("l1i", "instruction"),
        ("2", "Unified") => ("l2", "unified"),
        ("3", "Unified") => ("l3", "unified"),
        (level, kind) => return Err(format!("level {level} {kind} is not simulated")),
    };
    let size = text("size")?;
    let size_bytes = kernel_size(&size).ok_or_else(|| format!("size '{size}' is not understood"))?;
    let line_bytes = number(&index.join("coherency_line_size"))
        .filter(|bytes| bytes.is_power_of_two() && (8..=65536).contains(bytes))
        .ok_or("no valid coherency_line_size")?;
    // Some hypervisors report no ways; sets, if there, give them.
    let ways = match number(&index.join("ways_of_associativity")) {
        Some(ways) if ways > 0 => ways,
        _ => {
            let sets = number(&index.join("number_of_sets")).filter(|&sets| sets > 0);
            let ways = sets
                .map(|sets| size_bytes / (sets * line_bytes))
                .filter(|&ways| ways > 0);
            notes.push(format!(
                "{name}: the kernel reports no ways: {}",
                match ways {
                    Some(ways) => format!("{ways}, from its sets"),
                    None => format!("{ASSUMED_WAYS} assumed"),
                }
            ));
            ways.unwrap_or(ASSUMED_WAYS)
        }
    };
    let ways = u32::try_from(ways)
        .ok()
        .filter(|&ways| ways <= 65536)
        .ok_or_else(|| format!("{ways} ways"))?;
    if size_bytes == 0 || size_bytes % (u64::from(ways) * line_bytes) != 0 {
        return Err(format!(
            "size {size} is no multiple of {ways} ways of {line_bytes} B"
        ));
    }
    let cpus = cpu_list(&index.join("shared_cpu_list")).unwrap_or_else(|| siblings.clone());
    Ok(Reported {
        name,
        contents,
        size_bytes,
        ways,
        line_bytes,
        cpus,
    })
}

const ASSUMED_WAYS: u64 = 16;

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `48K` as the kernel writes it.
fn kernel_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `0-3,8` as the kernel writes it; `None` if absent, empty or unreadable.
fn cpu_list(path: &Path) -> Option<BTreeSet<u32>> {
    let text = fs::read_to_string(path).ok()?;
    let mut cpus = BTreeSet::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        // The kernel's own bound on CPUs is below it; a broken list must not fill the memory.
        cpus.extend(first..=last.min(first.saturating_add(65535)));
    }
    Some(cpus).filter(|cpus| !cpus.is_empty())
}
