//! Profiles made up for tests: deterministic by seed, consistent as a real one is.

use memloupe::profile::{
    CallPath, Context, LevelCounts, LocalityCount, LocalitySummary, Measures, Object, Profile, Quantity,
    Site, Summary, TimelineBin, Traffic,
};
use memloupe_attribute::LineSet;

/// Names as a hostile target could choose them.
pub(crate) const HOSTILE: [&str; 5] = [
    "<script>alert(1)</script>",
    "a,\"b\"\r\nc",
    "\u{1b}[2J",
    "operator<< <T&&>",
    "'; DROP TABLE traffic; --",
];

/// xorshift64*: small, and the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

fn measures(random: &mut Random, levels: usize, dram: bool, kind: &str) -> Measures {
    let magnitude = random.below(30) + 1;
    let executions = random.below(1 << magnitude);
    let mut measures = Measures::new(levels);
    match kind {
        "fetch" => {
            measures.fetches = executions;
            measures.instructions = executions * (1 + random.below(20));
            measures.flops = executions * random.below(8);
        }
        kind => {
            measures.accesses = executions;
            measures.loads = if kind == "store" { 0 } else { executions };
            measures.stores = if kind == "load" { 0 } else { executions };
            measures.access_bytes = executions * 8;
        }
    }
    let mut reaching = executions;
    for level in &mut measures.levels {
        let misses = random.below(reaching + 1);
        *level = LevelCounts {
            line_accesses: reaching,
            misses,
            writebacks: random.below(misses + 1),
            stall_cycles: random.below(1 << 30),
        };
        reaching = misses;
    }
    if dram {
        measures.dram_read_bytes = reaching * 64;
        measures.dram_write_bytes = random.below(reaching + 1) * 64;
        measures.row_hits = random.below(reaching + 1);
        measures.row_misses = random.below(reaching - measures.row_hits + 1);
        measures.row_conflicts = reaching - measures.row_hits - measures.row_misses;
    }
    if levels > 0 {
        measures.base_cycles = random.below(1 << 40);
        measures.est_cycles = measures.base_cycles;
        measures.energy_nj = random.below(1 << 40);
        measures.est_cycles += measures
            .levels
            .iter()
            .map(|level| level.stall_cycles)
            .sum::<u64>();
    }
    if dram {
        measures.dram_latency_cycles = random.below(1 << 40);
        measures.dram_bandwidth_cycles = random.below(1 << 40);
        measures.est_cycles += measures.dram_latency_cycles + measures.dram_bandwidth_cycles;
    }
    measures
}

const ANALYSES: [&str; 6] = ["reuse", "line-use", "lifetime", "sharing", "stride", "score"];

/// Counts of every quantity, or nothing.
fn locality(random: &mut Random, contexts: usize, sites: usize, objects: usize) -> Vec<LocalityCount> {
    const PLAIN: [&str; 7] = [
        "line_accesses",
        "dead",
        "unread",
        "private_lines",
        "read_shared_lines",
        "one_writer_lines",
        "many_writers_lines",
    ];
    const HISTOGRAMS: [&str; 8] = [
        "reuse_distance",
        "reuse_time",
        "first_use",
        "last_use",
        "lifetime",
        "line_writes",
        "line_use_0",
        "line_use_1",
    ];
    if random.below(2) == 0 {
        return Vec::new();
    }
    let mut counts = Vec::new();
    for _ in 0..200 {
        let (context, object) = (random.below(contexts as u64), random.below(objects as u64));
        let mut push = |name: &str, from: u64, to: u64, count: u64, sum: f64| {
            let stride = name == "stride";
            let score = name.starts_with("score");
            counts.push(LocalityCount {
                quantity: Quantity::parse(name),
                context: context as u32,
                site: stride.then_some(context as u32 % sites as u32),
                object: (!score).then_some(object as u32),
                from,
                to,
                count,
                sum,
            });
        };
        push(random.pick(&PLAIN), 0, 0, 1 + random.below(1000), 0.0);
        let from = 4 << random.below(20);
        let count = 1 + random.below(1 << 20);
        push(
            random.pick(&HISTOGRAMS),
            from,
            from / 4 * 5,
            count,
            (from * count) as f64,
        );
        push("stride", 5, 9, 1 + random.below(99), 0.0);
        push("score_windows", 0, 0, 10, 2.5);
        push("score_reused", 0, 0, 1 + random.below(300), 0.0);
    }
    counts
}

/// A profile without rhyme or reason: every field that may be empty is empty somewhere, names are hostile.
pub(crate) fn random(seed: u64) -> Profile {
    let mut random = Random::new(seed);
    let levels: &[&str] = [&["l1d", "l1i", "l2", "l3"][..], &["l1d", "l1i"], &[]][random.below(3) as usize];
    let dram = !levels.is_empty();
    let phases = ["load", "prefill", "decode", "", HOSTILE[0]];
    let kinds = ["", "MUL_MAT", "SOFT_MAX", HOSTILE[1]];
    let contexts: Vec<Context> = (0..1 + random.below(40))
        .map(|_| Context {
            thread: random.below(4) as u32,
            phase: random.pick(&phases).to_owned(),
            phase_index: (random.below(2) == 0).then(|| random.below(12) as u32),
            kind: random.pick(&kinds).to_owned(),
            operator: random.pick(&["", "ffn_up-10", "ffn_up-9", HOSTILE[2]]).to_owned(),
            layer: random.pick(&["", "blk.2", "blk.10", HOSTILE[4]]).to_owned(),
            shape: random.pick(&["", "[64, 32]"]).to_owned(),
            element_type: random.pick(&["", "q4_0"]).to_owned(),
            calls: random.below(1000),
            path: (random.below(2) == 0).then(|| random.below(3) as u32),
            ..Context::default()
        })
        .collect();
    let sites: Vec<Site> = (0..1 + random.below(60))
        .map(|_| Site {
            module: random.pick(&["", "libggml.so"]).to_owned(),
            function: random.pick(&["", "main", HOSTILE[3]]).to_owned(),
            file: random.pick(&["", "src/ops.cpp"]).to_owned(),
            line: random.below(3) as u32,
            inlined: random.pick(&["", "a < b < c"]).to_owned(),
            ip: random.next(),
            kind: random
                .pick(&["load", "store", "read-modify-write", "fetch"])
                .to_owned(),
            bytes: 1 << random.below(6),
        })
        .collect();
    let objects: Vec<Object> = (0..1 + random.below(20))
        .map(|_| Object {
            name: random
                .pick(&["", "blk.2.ffn_up.weight", HOSTILE[0], HOSTILE[1]])
                .to_owned(),
            class: random.pick(&["weight", "kv-cache", "other", ""]).to_owned(),
            bytes: random.next(),
            allocations: random.below(5),
            origin: random.pick(&["", "malloc < main"]).to_owned(),
        })
        .collect();
    let traffic = (0..random.below(400))
        .map(|_| {
            let site = random.below(sites.len() as u64) as u32;
            let (first, lines) = (random.below(1 << 36), random.below(200));
            Traffic {
                context: random.below(contexts.len() as u64) as u32,
                site,
                object: random.below(objects.len() as u64) as u32,
                measures: measures(&mut random, levels.len(), dram, &sites[site as usize].kind),
                // Close together, so that rows share lines.
                lines: (0..lines)
                    .map(|line| (first % 5000) + line * (1 + first % 3))
                    .collect(),
            }
        })
        .collect();
    let timeline = (0..random.below(50))
        .map(|bin| TimelineBin {
            phase: random.pick(&phases).to_owned(),
            phase_index: (random.below(2) == 0).then_some(3),
            instructions_from: bin * 1000,
            instructions: random.below(1001),
            accesses: random.below(1000),
            misses: levels.iter().map(|_| random.below(100)).collect(),
            dram_read_bytes: random.below(1000),
            dram_write_bytes: random.below(1000),
        })
        .collect();
    let locality = locality(&mut random, contexts.len(), sites.len(), objects.len());
    let summary = Summary {
        command: vec!["./target".to_owned(), HOSTILE[0].to_owned()],
        exit_status: Some(0),
        complete: random.below(2) == 0,
        incomplete_reason: (random.below(2) == 0).then(|| HOSTILE[0].to_owned()),
        engine: "valgrind".to_owned(),
        machine: if dram {
            serde_json::json!({ "name": HOSTILE[0], "l1d": { "ways": 8 } })
        } else {
            serde_json::Value::Null
        },
        levels: levels.iter().map(|level| (*level).to_owned()).collect(),
        dram,
        call_paths: true,
        lost_accesses: random.below(2) * 7,
        wall_seconds: 1.25,
        locality: (!locality.is_empty()).then(|| LocalitySummary {
            analyses: ANALYSES.map(str::to_owned).to_vec(),
            one_in: 1 + random.below(2) * 99,
            lines_followed: 1000,
            accesses: 1 << 20,
            line_bytes: 64,
            capacities_bytes: vec![48 << 10, 2 << 20],
        }),
        notes: vec![HOSTILE[1].to_owned()],
        ..Summary::default()
    };
    Profile {
        summary,
        contexts,
        sites,
        objects,
        traffic,
        timeline,
        locality,
        strata: Vec::new(),
        paths: call_paths(),
    }
    .seal()
}

/// main, and two functions that it calls.
fn call_paths() -> Vec<CallPath> {
    let call = |before, function: &str| CallPath {
        before,
        function: function.to_owned(),
        module: "program".to_owned(),
    };
    vec![
        call(None, "main"),
        call(Some(0), "outer;inner"),
        call(Some(0), HOSTILE[0]),
    ]
}

struct Kernel {
    kind: &'static str,
    operator: &'static str,
    function: &'static str,
    weight: &'static str,
    /// Share of a layer's weights.
    share: u64,
}

/// A profile that looks like inference of a transformer: what pages and tables are looked at with.
pub(crate) fn transformer(layers: u64, decodes: u64) -> Profile {
    let kernels = [
        Kernel {
            kind: "RMS_NORM",
            operator: "attn_norm",
            function: "ggml_compute_forward_rms_norm",
            weight: "attn_norm.weight",
            share: 1,
        },
        Kernel {
            kind: "MUL_MAT",
            operator: "Qcur",
            function: "ggml_vec_dot_q4_0_q8_0",
            weight: "attn_q.weight",
            share: 330,
        },
        Kernel {
            kind: "MUL_MAT",
            operator: "Kcur",
            function: "ggml_vec_dot_q4_0_q8_0",
            weight: "attn_k.weight",
            share: 110,
        },
        Kernel {
            kind: "ROPE",
            operator: "Qcur_rope",
            function: "ggml_compute_forward_rope",
            weight: "",
            share: 2,
        },
        Kernel {
            kind: "CPY",
            operator: "k_cache_view",
            function: "ggml_compute_forward_dup",
            weight: "",
            share: 3,
        },
        Kernel {
            kind: "MUL_MAT",
            operator: "kq",
            function: "ggml_vec_dot_f16",
            weight: "",
            share: 20,
        },
        Kernel {
            kind: "SOFT_MAX",
            operator: "kq_soft_max",
            function: "ggml_vec_soft_max_f32",
            weight: "",
            share: 6,
        },
        Kernel {
            kind: "MUL_MAT",
            operator: "ffn_gate",
            function: "ggml_vec_dot_q4_0_q8_0",
            weight: "ffn_gate.weight",
            share: 880,
        },
        Kernel {
            kind: "MUL_MAT",
            operator: "ffn_up",
            function: "ggml_vec_dot_q4_0_q8_0",
            weight: "ffn_up.weight",
            share: 880,
        },
        Kernel {
            kind: "GLU",
            operator: "ffn_swiglu",
            function: "ggml_vec_swiglu_f32",
            weight: "",
            share: 4,
        },
        Kernel {
            kind: "ADD",
            operator: "l_out",
            function: "ggml_compute_forward_add",
            weight: "",
            share: 3,
        },
    ];
    let mut profile = Profile::default();
    for kernel in &kernels {
        for kind in ["load", "store", "fetch"] {
            profile.sites.push(Site {
                module: "libggml-cpu.so".to_owned(),
                function: kernel.function.to_owned(),
                file: "ggml/src/ggml-cpu/ops.cpp".to_owned(),
                line: 100 + profile.sites.len() as u32 * 7,
                kind: kind.to_owned(),
                bytes: 32,
                ..Site::default()
            });
        }
    }
    for layer in 0..layers {
        for kernel in kernels.iter().filter(|kernel| !kernel.weight.is_empty()) {
            let name = format!("blk.{layer}.{}", kernel.weight);
            profile.objects.push(Object {
                name,
                class: "weight".to_owned(),
                bytes: kernel.share << 12,
                ..Object::default()
            });
        }
    }
    let weights = profile.objects.len() as u64 / layers;
    for (name, class) in [
        ("kv cache", "kv-cache"),
        ("compute buffer", "activation"),
        ("thread stack", "stack"),
        ("", "other"),
        ("libggml-cpu.so code", "code"),
    ] {
        profile.objects.push(Object {
            name: name.to_owned(),
            class: class.to_owned(),
            bytes: 1 << 20,
            ..Object::default()
        });
    }
    let [kv, activation, stack, other, code] = [0, 1, 2, 3, 4].map(|extra| (weights * layers + extra) as u32);
    let phases = [("load", None), ("prefill", Some(0))]
        .into_iter()
        .chain((0..decodes).map(|index| ("decode", Some(index as u32))))
        .chain([("other", None)]);
    let mut random = Random::new(1);
    let mut instructions_from = 0;
    for (position, (phase, phase_index)) in phases.enumerate() {
        let computes = phase_index.is_some();
        let tokens = if phase == "prefill" { 16 } else { 1 };
        let outside = profile.contexts.len() as u32;
        let context = Context {
            phase: phase.to_owned(),
            phase_index,
            ..Context::default()
        };
        profile.contexts.push(context.clone());
        let mut row = |context: u32, site: usize, object: u32, executions: u64, dram: u64, home: u64| {
            let mut measures = Measures::new(4);
            if site % 3 == 2 {
                measures.fetches = executions;
                measures.instructions = executions * 9;
                measures.flops = executions * 4;
            } else {
                measures.accesses = executions;
                measures.loads = executions * u64::from(site.is_multiple_of(3));
                measures.stores = executions - measures.loads;
            }
            measures.access_bytes = measures.accesses * 32;
            measures.levels[usize::from(site % 3 == 2)] = LevelCounts {
                line_accesses: executions,
                misses: executions / 6 + dram,
                writebacks: executions / 20,
                stall_cycles: executions / 100,
            };
            measures.levels[2] = LevelCounts {
                line_accesses: executions / 6 + dram,
                misses: executions / 30 + dram,
                writebacks: 0,
                stall_cycles: executions / 40,
            };
            measures.levels[3] = LevelCounts {
                line_accesses: executions / 30 + dram,
                misses: dram,
                writebacks: 0,
                stall_cycles: executions / 60,
            };
            measures.dram_read_bytes = dram * 64;
            measures.dram_write_bytes = if site % 3 == 1 { dram * 64 } else { 0 };
            let requests = dram + measures.dram_write_bytes / 64;
            measures.row_hits = requests * (80 + random.below(15)) / 100;
            measures.row_conflicts = (requests - measures.row_hits) * 3 / 4;
            measures.row_misses = requests - measures.row_hits - measures.row_conflicts;
            measures.base_cycles = executions / 2;
            measures.dram_latency_cycles = dram * 60;
            measures.dram_bandwidth_cycles = dram * 30;
            let stalls: u64 = measures.levels.iter().map(|level| level.stall_cycles).sum();
            measures.est_cycles = executions / 2 + stalls + dram * 90;
            let mut lines = LineSet::default();
            lines.insert(home, home + dram.max(executions / 40).min(1 << 16));
            profile.traffic.push(Traffic {
                context,
                site: site as u32,
                object,
                measures,
                lines,
            });
        };
        row(outside, 2, code, 40_000, 300, 0);
        row(
            outside,
            0,
            other,
            30_000,
            if computes { 200 } else { 9_000 },
            1 << 14,
        );
        row(outside, 1, stack, 20_000, 10, 1 << 15);
        let mut contexts = Vec::new();
        for layer in 0..if computes { layers } else { 0 } {
            let mut weight = layer * weights;
            for (index, kernel) in kernels.iter().enumerate() {
                let id = outside + 1 + contexts.len() as u32;
                contexts.push(Context {
                    kind: kernel.kind.to_owned(),
                    operator: format!("{}-{layer}", kernel.operator),
                    layer: format!("blk.{layer}"),
                    calls: 1,
                    ..context.clone()
                });
                let work = kernel.share * 200 * tokens;
                row(id, index * 3 + 2, code, work / 2, 0, 4096 + index as u64);
                row(
                    id,
                    index * 3 + 1,
                    activation,
                    work / 40,
                    u64::from(layer % 3 == 0),
                    1 << 17,
                );
                if kernel.weight.is_empty() {
                    let lines = if kernel.operator == "kq" {
                        (16 + position as u64) * 40
                    } else {
                        4
                    };
                    row(
                        id,
                        index * 3,
                        if kernel.operator == "kq" { kv } else { activation },
                        work,
                        lines,
                        1 << 18,
                    );
                } else {
                    row(
                        id,
                        index * 3,
                        weight as u32,
                        work,
                        kernel.share * 64,
                        (1 << 20) + (weight << 17),
                    );
                    row(id, index * 3, activation, work, 2, 1 << 17);
                    weight += 1;
                }
            }
        }
        profile.contexts.extend(contexts);
        let bins = if phase == "prefill" { 60 } else { 9 };
        for bin in 0..bins {
            let instructions = 40_000 + random.below(4_000);
            let wave = if computes { 600 + (bin % 9) * 300 } else { 90 };
            profile.timeline.push(TimelineBin {
                phase: phase.to_owned(),
                phase_index,
                instructions_from,
                instructions,
                accesses: instructions * (30 + random.below(12)) / 100,
                misses: vec![wave + random.below(200), 3, wave / 2, wave / 3],
                dram_read_bytes: if phase == "prefill" { wave * 9 } else { wave * 60 },
                dram_write_bytes: wave * random.below(14),
            });
            instructions_from += instructions;
        }
    }
    profile.summary = Summary {
        command: vec![
            "./llama-run".to_owned(),
            "--model".to_owned(),
            "smoke.gguf".to_owned(),
        ],
        exit_status: Some(0),
        complete: true,
        engine: "valgrind".to_owned(),
        machine: serde_json::json!({ "name": "host", "dram": { "standard": "DDR5-4800", "channels": 2 } }),
        levels: ["l1d", "l1i", "l2", "l3"].map(str::to_owned).to_vec(),
        dram: true,
        threads: 1,
        wall_seconds: 12.3,
        started: "2026-01-01T00:00:00Z".to_owned(),
        host: "a test".to_owned(),
        syscalls: 42,
        dirty_lines_at_end: 17,
        notes: vec!["the program's libstdc++ has no debug information".to_owned()],
        ..Summary::default()
    };
    profile.seal()
}
