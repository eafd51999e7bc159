//! Reports and pages: sums are exact under every grouping, formats are what they claim, nothing from a target escapes.

mod synthetic;

use std::collections::HashSet;

use memloupe::page;
use memloupe::profile::{FOOTPRINT_LINE_BYTES, Measure, Profile};
use memloupe::report::{Key, Query, QueryError, Report, STALLS, Shown, TABLES, overview};
use roaring::RoaringTreemap;

const NO_FILTERS: [&str; 0] = [];

fn by(profile: &Profile, keys: &[Key]) -> Report {
    Query::by(keys).run(profile).expect("no column is named")
}

/// Totals from the rows of a profile, formed without the code under test.
fn expected(profile: &Profile, name: &str) -> u64 {
    let rows = profile.traffic.iter();
    let level = |suffix: &str| {
        let name = name.strip_suffix(suffix)?.strip_suffix('_')?;
        profile.summary.levels.iter().position(|level| level == name)
    };
    if let Some(level) = level("misses") {
        return rows.map(|row| row.measures.levels[level].misses).sum();
    }
    match name {
        "accesses" => rows.map(|row| row.measures.accesses).sum(),
        "loads" => rows.map(|row| row.measures.loads).sum(),
        "stores" => rows.map(|row| row.measures.stores).sum(),
        "instructions" => rows.map(|row| row.measures.instructions).sum(),
        "flops" => rows.map(|row| row.measures.flops).sum(),
        "footprint_bytes" => {
            let lines: HashSet<u64> = rows.flat_map(|row| row.lines.to_vec()).collect();
            lines.len() as u64 * FOOTPRINT_LINE_BYTES
        }
        "dram_read_bytes" => rows.map(|row| row.measures.dram_read_bytes).sum(),
        "dram_write_bytes" => rows.map(|row| row.measures.dram_write_bytes).sum(),
        "row_hits" => rows.map(|row| row.measures.row_hits).sum(),
        "row_conflicts" => rows.map(|row| row.measures.row_conflicts).sum(),
        "est_cycles" => rows.map(|row| row.measures.est_cycles).sum(),
        "energy_nj" => rows.map(|row| row.measures.energy_nj).sum(),
        other => panic!("no expectation for {other}"),
    }
}

#[test]
fn columns_are_those_of_the_contract_in_its_order() {
    let profile = synthetic::transformer(2, 2);
    let contract = [
        "accesses",
        "loads",
        "stores",
        "instructions",
        "flops",
        "footprint_bytes",
        "l1d_misses",
        "l1i_misses",
        "l2_misses",
        "l3_misses",
        "dram_read_bytes",
        "dram_write_bytes",
        "row_hits",
        "row_conflicts",
        "est_cycles",
        "energy_nj",
    ];
    let report = by(&profile, &[Key::Kind]);
    assert_eq!(report.names[..contract.len()], contract);
    for (name, total) in report.names.iter().zip(&report.total).take(contract.len()) {
        assert_eq!(*total, expected(&profile, name), "{name}");
        assert_eq!(profile.summary.total(name), *total, "profile.json: {name}");
    }
}

#[test]
fn every_grouping_adds_up_to_the_totals() {
    for seed in 0..30 {
        let profile = synthetic::random(seed);
        let words: Vec<Key> = Key::ALL.iter().map(|(key, _, _)| *key).collect();
        let mut groupings: Vec<Vec<Key>> = words.iter().map(|key| vec![*key]).collect();
        groupings.extend(words.iter().flat_map(|a| words.iter().map(|b| vec![*a, *b])));
        groupings.push(words.clone());
        groupings.push(Vec::new());
        for keys in groupings {
            let report = by(&profile, &keys);
            let distinct: HashSet<&Vec<String>> = report.rows.iter().map(|row| &row.keys).collect();
            assert_eq!(
                distinct.len(),
                report.rows.len(),
                "seed {seed}, {keys:?}: a group occurs twice"
            );
            for (column, measure) in report.measures.iter().enumerate() {
                let name = &report.names[column];
                if *measure != Measure::Calls {
                    assert_eq!(
                        report.total[column],
                        profile.summary.total(name),
                        "seed {seed}, {keys:?}, {name}"
                    );
                }
                let values = report.rows.iter().map(|row| row.values[column]);
                if *measure == Measure::Footprint {
                    assert!(values.clone().max().unwrap_or(0) <= report.total[column]);
                    assert!(values.sum::<u64>() >= report.total[column]);
                } else {
                    assert_eq!(
                        values.sum::<u64>(),
                        report.total[column],
                        "seed {seed}, {keys:?}, {name}"
                    );
                }
            }
        }
    }
}

/// Operators are entered in contexts: reports by something else have no such column.
#[test]
fn calls_are_those_of_the_contexts() {
    for seed in 0..30 {
        let profile = synthetic::random(seed);
        let report = by(&profile, &[Key::Kind, Key::Thread]);
        let calls = report.column(Measure::Calls).expect("keys of contexts");
        for row in &report.rows {
            let kind = row.keys[0].replace("(no operator)", "");
            let contexts = profile.contexts.iter();
            let of_row =
                contexts.filter(|context| context.kind == kind && context.thread.to_string() == row.keys[1]);
            let expected: u64 = of_row.map(|context| context.calls).sum();
            assert_eq!(row.values[calls], expected, "seed {seed}, {:?}", row.keys);
        }
        assert_eq!(
            report.total(Measure::Calls),
            report.rows.iter().map(|row| row.values[calls]).sum::<u64>()
        );
        assert_eq!(
            by(&profile, &[Key::Kind, Key::Object]).column(Measure::Calls),
            None
        );
    }
}

#[test]
fn footprints_are_unions() {
    let profile = synthetic::random(4);
    let report = by(&profile, &[Key::Class, Key::Access]);
    assert!(!report.rows.is_empty());
    for row in &report.rows {
        let mut lines = RoaringTreemap::new();
        for traffic in &profile.traffic {
            let class = &profile.objects[traffic.object as usize].class;
            let class = if class.is_empty() { "other" } else { class };
            if class == row.keys[0] && profile.sites[traffic.site as usize].kind == row.keys[1] {
                traffic.lines.add_to(&mut lines);
            }
        }
        assert_eq!(
            report.value(row, Measure::Footprint),
            lines.len() * FOOTPRINT_LINE_BYTES,
            "{:?}",
            row.keys
        );
    }
}

#[test]
fn what_has_no_name_has_rows_of_its_own() {
    let profile = synthetic::transformer(2, 2);
    let named = |key, name: &str| by(&profile, &[key]).rows.iter().any(|row| row.keys[0] == name);
    assert!(named(Key::Kind, "(no operator)"));
    assert!(named(Key::Operator, "(no operator)"));
    assert!(named(Key::Layer, "(no layer)"));
    assert!(named(Key::Object, "(unnamed)"));
    assert!(named(Key::Phase, "decode[1]"));
    assert!(named(Key::PhaseKind, "decode"));
}

#[test]
fn attribution_counts_what_the_rows_say() {
    let profile = synthetic::transformer(3, 2);
    let sum = |keys: &[Key], keep: &dyn Fn(&[String]) -> bool, measure| {
        let report = by(&profile, keys);
        report
            .rows
            .iter()
            .filter(|row| keep(&row.keys))
            .map(|row| report.value(row, measure))
            .sum::<u64>()
    };
    let attribution = &profile.summary.attribution;
    let phases = |keys: &[String]| keys[0] == "prefill" || keys[0] == "decode";
    let named = |keys: &[String]| phases(keys) && keys[1] != "(no operator)";
    assert_eq!(
        attribution.compute_accesses,
        sum(&[Key::PhaseKind], &phases, Measure::ACCESSES)
    );
    assert_eq!(
        attribution.operator_accesses,
        sum(&[Key::PhaseKind, Key::Kind], &named, Measure::ACCESSES)
    );
    assert!(attribution.operator_accesses < attribution.compute_accesses);
    let of_objects = |keys: &[String]| keys[0] != "(unnamed)";
    let both = [Measure::DRAM_READ, Measure::DRAM_WRITE];
    let bytes: u64 = both
        .iter()
        .map(|measure| sum(&[Key::Object], &of_objects, *measure))
        .sum();
    assert_eq!(attribution.object_dram_bytes, bytes);
    assert_eq!(
        attribution.dram_bytes,
        both.iter()
            .map(|measure| sum(&[], &|_| true, *measure))
            .sum::<u64>()
    );
}

#[test]
fn symbols_hold_what_was_inlined_into_them() {
    let mut profile = synthetic::transformer(1, 1);
    for (site, inlined) in profile
        .sites
        .iter_mut()
        .zip(["_mm256_add_epi8 < dot < gemv", "dot < gemv", ""])
    {
        site.function = inlined.split(" < ").next().unwrap_or_default().to_owned();
        site.inlined = inlined.to_owned();
    }
    profile.sites[2].function = "gemv".to_owned();
    let rows = |key| {
        by(&profile, &[key])
            .rows
            .into_iter()
            .map(|row| row.keys[0].clone())
            .collect::<HashSet<_>>()
    };
    assert!(rows(Key::Symbol).contains("gemv") && !rows(Key::Symbol).contains("dot"));
    assert!(rows(Key::Function).contains("_mm256_add_epi8") && rows(Key::Function).contains("dot"));
}

#[test]
fn fetches_are_no_data_accesses() {
    let report = by(&synthetic::transformer(2, 2), &[Key::Access]);
    let fetch = report
        .rows
        .iter()
        .find(|row| row.keys[0] == "fetch")
        .expect("a row of fetches");
    assert_eq!(report.value(fetch, Measure::ACCESSES), 0);
    assert!(report.value(fetch, Measure::INSTRUCTIONS) > 0);
    assert_eq!(
        report.value(fetch, Measure::INSTRUCTIONS),
        report.total(Measure::INSTRUCTIONS)
    );
}

#[test]
fn rows_stand_in_order() {
    let profile = synthetic::transformer(12, 3);
    let first = |report: &Report| {
        report
            .rows
            .iter()
            .map(|row| row.keys[0].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        first(&by(&profile, &[Key::Phase])),
        [
            "load",
            "prefill[0]",
            "decode[0]",
            "decode[1]",
            "decode[2]",
            "other"
        ]
    );
    let layers = first(&by(&profile, &[Key::Layer]));
    assert_eq!(
        (layers[2].as_str(), layers[10].as_str(), layers[12].as_str()),
        ("blk.2", "blk.10", "(no layer)")
    );
    for column in ["dram_read_bytes", "footprint_bytes", "l2_misses"] {
        let report = Query::parse(&["object"], Some(column), &NO_FILTERS)
            .and_then(|query| query.run(&profile))
            .expect("a column");
        let position = report
            .names
            .iter()
            .position(|name| name == column)
            .expect("the column");
        assert!(
            report
                .rows
                .is_sorted_by(|a, b| a.values[position] >= b.values[position]),
            "{column}"
        );
    }
    let report = Query::parse(&["object"], Some("object"), &NO_FILTERS)
        .and_then(|query| query.run(&profile))
        .expect("a key");
    assert_eq!(
        first(&report)[..2],
        ["blk.0.attn_k.weight", "blk.0.attn_norm.weight"]
    );
}

#[test]
fn filters_keep_what_matches_and_nothing_else() {
    let profile = synthetic::transformer(3, 4);
    let all = by(&profile, &[Key::Phase, Key::Class]);
    let filters = ["phase=decode[*]", "class=weight"];
    let some = Query::parse(&["phase", "class"], None, &filters)
        .and_then(|query| query.run(&profile))
        .expect("filters");
    let wanted: Vec<_> = all
        .rows
        .iter()
        .filter(|row| row.keys[0].starts_with("decode[") && row.keys[1] == "weight")
        .cloned()
        .collect();
    assert_eq!(wanted.len(), 4);
    assert_eq!(some.rows, wanted);
    assert_eq!(
        some.total(Measure::DRAM_READ),
        wanted
            .iter()
            .map(|row| some.value(row, Measure::DRAM_READ))
            .sum::<u64>()
    );
}

#[test]
fn mistakes_are_named_with_what_would_be_right() {
    let profile = synthetic::transformer(1, 1);
    let error = |by: &[&str], sort: Option<&str>, filters: &[&str]| {
        Query::parse(by, sort, filters)
            .and_then(|query| query.run(&profile))
            .expect_err("a mistake")
            .to_string()
    };
    assert!(
        error(&["operater"], None, &[]).contains("\"operater\"")
            && error(&["x"], None, &[]).contains("operator")
    );
    assert!(error(&["kind"], Some("l4_misses"), &[]).contains("l3_misses"));
    assert!(error(&["kind"], None, &["phase"]).contains("KEY=GLOB"));
    assert_eq!(
        Query::parse(&["kind"], None, &["fase=x"]),
        Err(QueryError::Key("fase".to_owned()))
    );
}

#[test]
fn json_and_csv_say_the_same() {
    for seed in 0..10 {
        let report = by(
            &synthetic::random(seed),
            &[Key::Phase, Key::Object, Key::Operator],
        );
        let json: Vec<serde_json::Map<String, serde_json::Value>> =
            serde_json::from_str(&report.json()).expect("an array of objects");
        let csv = parse_csv(&report.csv());
        assert_eq!(csv.len(), json.len() + 1);
        assert_eq!(json.len(), report.rows.len());
        for (record, object) in csv[1..].iter().zip(&json) {
            assert_eq!(record.len(), object.len());
            for (name, cell) in csv[0].iter().zip(record) {
                match &object[name] {
                    serde_json::Value::String(text) => assert_eq!(text, cell),
                    number => assert_eq!(&number.to_string(), cell),
                }
            }
        }
    }
}

/// RFC 4180, read strictly.
fn parse_csv(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {
                assert_eq!(chars.next(), Some('\n'), "a record ends with CR LF");
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            char => cell.push(char),
        }
    }
    assert!(
        !quoted && record.is_empty() && cell.is_empty(),
        "the last record is complete"
    );
    records
}

#[test]
fn tables_fit_the_terminal_and_hide_nothing_silently() {
    let profile = synthetic::transformer(6, 3);
    let report = by(&profile, &[Key::Object]);
    for columns in [60, 80, 100, 120, 200] {
        let table = report.table(&profile.summary, 5, columns);
        let widest = table
            .lines()
            .filter(|line| !line.starts_with('!'))
            .map(|line| line.chars().count())
            .max();
        assert!(
            widest <= Some(columns),
            "{widest:?} columns of {columns}:\n{table}"
        );
        assert!(
            table.contains(&format!("… {} more", report.rows.len() - 5)),
            "{table}"
        );
        assert!(table.contains("total"));
    }
    let wide = report.table(&profile.summary, 5, 400);
    let narrow = report.table(&profile.summary, 5, 60);
    assert!(
        wide.contains("flops") && !narrow.contains("flops"),
        "{wide}\n{narrow}"
    );
}

#[test]
fn what_is_missing_is_said_under_every_table() {
    let mut profile = synthetic::transformer(1, 1);
    profile.summary.complete = false;
    profile.summary.incomplete_reason = Some("the program was killed by signal 9".to_owned());
    profile.summary.lost_accesses = 77;
    profile.summary.unobserved_instructions = 88;
    profile.summary.unobserved_processes = 99;
    let table = by(&profile, &[Key::Kind]).table(&profile.summary, 10, 100);
    let page = page::html(&profile);
    for text in [
        "INCOMPLETE: the program was killed by signal 9",
        "77 accesses were lost",
        "88 instructions",
        "99 child",
        "libstdc++",
    ] {
        assert!(table.contains(text), "{text} is not in\n{table}");
        assert!(page.contains(text), "{text} is not in the page");
    }
    assert!(page.contains(">incomplete<"));
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    for seed in 0..10 {
        let profile = synthetic::random(seed);
        for key in [Key::Operator, Key::Object, Key::Layer] {
            let text = by(&profile, &[key]).table(&profile.summary, 100, 100);
            assert!(
                !text.contains(|char: char| char.is_control() && char != '\n'),
                "{text:?}"
            );
        }
        let text = overview(&profile, std::path::Path::new("p"));
        assert!(
            !text.contains(|char: char| char.is_control() && char != '\n'),
            "{text:?}"
        );
    }
}

#[test]
fn pages_are_self_contained_and_well_formed() {
    for seed in 0..20 {
        well_formed(&page::html(&synthetic::random(seed)));
    }
    let profile = synthetic::transformer(12, 8);
    let page = page::html(&profile);
    well_formed(&page);
    for text in [
        "Operators",
        "Objects",
        "Timeline",
        "Phases",
        "Layers",
        "DRAM rows",
        "Tables",
        "decode[0…7]",
        "kv-cache",
        "MUL_MAT",
    ] {
        assert!(page.contains(text), "no {text}");
    }
    // Exact numbers are in the page, not only rounded ones.
    assert!(page.contains(&format!(
        "data-value=\"{}\"",
        profile.summary.total("dram_read_bytes")
    )));
    // To look at.
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/report.html"), page).expect("a page");
}

/// Every element that is opened is closed, in order; nothing is loaded; no text of a target became markup.
fn well_formed(page: &str) {
    assert_eq!(page.matches("<script>").count(), 1, "only the page's own script");
    for outside in ["http:", "https:", " src=", "@import", "url(", "href="] {
        assert!(
            !page.contains(outside),
            "the page names something outside itself: {outside}"
        );
    }
    let body = page.split_once("</style>").map_or(page, |(_, body)| body);
    let body = body.split_once("<script>").map_or(body, |(body, _)| body);
    let mut open = vec!["head"];
    for tag in body.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').expect("a tag ends");
        assert!(!text.contains('>'), "a stray > after <{tag}>");
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap_or_default();
        match (tag.starts_with('/'), tag.ends_with('/') || name == "input") {
            (true, _) => assert_eq!(open.pop(), Some(name), "</{name}> closes something else"),
            (false, true) => {}
            (false, false) => open.push(name),
        }
    }
    assert_eq!(open, ["body"]);
}

/// Counts and bytes of every table are sums over its rows, whatever it is grouped by, and the total is of all.
#[test]
fn tables_of_locality_add_up() {
    let mut tables = 0;
    for profile in (0..10)
        .map(synthetic::random)
        .filter(|profile| !profile.locality.is_empty())
    {
        for table in &TABLES {
            for (key, _, _) in Key::ALL {
                let Ok(report) = Query::by(&[key]).run_table(&profile, table.name) else {
                    continue;
                };
                tables += 1;
                for (column, (name, shown)) in report.columns().enumerate() {
                    // Footprints add up but for rounding; quantiles and shares don't.
                    if name.contains("_p") || !matches!(shown, Shown::Count | Shown::Bytes) {
                        continue;
                    }
                    let sum: f64 = report.rows.iter().filter_map(|(_, values)| values[column]).sum();
                    let total = report.total[column].unwrap_or(0.0);
                    if table.name != "footprint" {
                        assert_eq!(sum, total, "{} by {}: {name}", table.name, key.name());
                    }
                }
                let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
                assert_eq!(json.as_array().map(Vec::len), Some(report.rows.len()));
                assert_eq!(parse_csv(&report.csv()).len(), report.rows.len() + 1);
                assert!(report.table(&profile.summary, 5).contains("total"));
            }
        }
    }
    assert!(tables > 50);
}

#[test]
fn tables_that_are_not_there_say_how_to_get_them() {
    let profile = synthetic::transformer(1, 1);
    let error = |table: &str| {
        let query = Query::by(&[Key::Line]);
        query
            .run_table(&profile, table)
            .expect_err("no table")
            .to_string()
    };
    assert!(error("rusee").contains("mrc"));
    assert!(error("score").contains("--analyses score"));
    let measured = (0..10)
        .map(synthetic::random)
        .find(|profile| !profile.locality.is_empty());
    let query = Query::by(&[Key::Line]);
    let error = query
        .run_table(&measured.expect("one in two"), "mrc")
        .expect_err("no such key");
    assert!(error.to_string().contains("\"line\"") && error.to_string().contains("class"));
}

#[test]
fn cycles_are_spent_on_what_the_table_says() {
    let profile = synthetic::transformer(2, 2);
    let query = Query::by(&[Key::Kind]);
    let report = query
        .run_table(&profile, STALLS)
        .expect("a machine was simulated");
    let names: Vec<&str> = report.columns().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "est_cycles",
            "instructions_per_cycle",
            "base",
            "l1d",
            "l1i",
            "l2",
            "l3",
            "dram_latency",
            "dram_bandwidth"
        ]
    );
    let cycles: Vec<f64> = report.rows.iter().map(|(_, values)| values[0].unwrap()).collect();
    assert!(cycles.is_sorted_by(|a, b| a >= b) && cycles.len() > 2);
    assert_eq!(report.total[0], Some(expected(&profile, "est_cycles") as f64));
    for (keys, values) in report.rows.iter().filter(|(_, values)| values[0] > Some(0.0)) {
        let shares: f64 = values[2..].iter().map(|share| share.unwrap()).sum();
        assert!((shares - 1.0).abs() < 1e-9, "{keys:?}: {values:?}");
    }
    // By any key, also those that the tables of locality don't know; filtered as other reports are.
    let by_line = Query::parse(&["function", "line"], Some("l3_stall_cycles"), &["kind=MUL_MAT"]).unwrap();
    assert!(!by_line.run_table(&profile, STALLS).unwrap().rows.is_empty());
    let html = page::html(&profile);
    assert!(html.contains("Estimated core cycles by operator") && html.contains("dram bandwidth"));

    let mut without = profile;
    without.summary.levels.clear();
    assert!(matches!(
        query.run_table(&without, STALLS),
        Err(QueryError::Table(name)) if name == STALLS
    ));
}
