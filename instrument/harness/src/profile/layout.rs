//! The folder: which file holds what, as one list of fields per table.

use std::fs;
use std::io;
use std::path::Path;

use super::parquet::{Cell, Field, Kind, read as read_table, write as write_table};
use super::{
    CallPath, Context, LocalityCount, Measures, Object, Profile, ProfileError, Quantity, SCHEMA_VERSION,
    SUMMARY_FILE, Site, Stratum, Summary, TimelineBin, Traffic,
};

const CONTEXTS_FILE: &str = "contexts.parquet";
const SITES_FILE: &str = "sites.parquet";
const OBJECTS_FILE: &str = "objects.parquet";
const TRAFFIC_FILE: &str = "traffic.parquet";
const TIMELINE_FILE: &str = "timeline.parquet";
const PATHS_FILE: &str = "paths.parquet";
const STRATA_FILE: &str = "strata.parquet";
const LOCALITY_FILE: &str = "locality.parquet";

macro_rules! fields {
    ($row:ident { $($kind:ident $($path:ident).+),* $(,)? }) => {
        vec![$(Field {
            name: [$(stringify!($path)),+].last().copied().unwrap_or_default().to_owned(),
            kind: Kind::$kind(Cell::new(
                |row: &$row| row.$($path).+.clone(),
                |row: &mut $row, value| row.$($path).+ = value,
            )),
        }),*]
    };
}

fn id<R>(name: &str) -> Field<R> {
    Field {
        name: name.to_owned(),
        kind: Kind::Id,
    }
}

fn contexts(summary: &Summary) -> Vec<Field<Context>> {
    let mut fields = vec![id("context")];
    fields.extend(fields!(Context {
        U32 thread, Text phase, OptionalU32 phase_index, Text kind, Text operator, Text layer, Text shape,
        Text element_type, U64 calls, OptionalU32 stratum, OptionalU32 instance,
    }));
    if summary.call_paths {
        fields.extend(fields!(Context { OptionalU32 path }));
    }
    fields
}

fn paths() -> Vec<Field<CallPath>> {
    let mut fields = vec![id("path")];
    fields.extend(fields!(CallPath { OptionalU32 before, Text function, Text module }));
    fields
}

fn strata() -> Vec<Field<Stratum>> {
    let mut fields = vec![id("stratum")];
    fields.extend(fields!(Stratum {
        U32 thread, Text phase, Text kind, Text operator, Text shape, Text element_type, U64 weight_bytes, U64 first,
        U64 instances, U64 observed, F64 trend, F64 centre,
    }));
    fields
}

fn sites() -> Vec<Field<Site>> {
    let mut fields = vec![id("site")];
    fields.extend(fields!(Site {
        Text module, Text function, Text file, U32 line, Text inlined, U64 ip, Text kind, U32 bytes,
    }));
    fields
}

fn objects() -> Vec<Field<Object>> {
    let mut fields = vec![id("object")];
    fields.extend(fields!(Object { Text name, Text class, U64 bytes, U64 allocations, Text origin }));
    fields
}

fn traffic(summary: &Summary) -> Vec<Field<Traffic>> {
    let mut fields = fields!(Traffic { U32 context, U32 site, U32 object });
    for measure in summary.measures() {
        if measure
            .value_mut(&mut Measures::new(summary.levels.len()))
            .is_none()
        {
            continue; // Derived from the lines.
        }
        fields.push(Field {
            name: measure.name(summary),
            kind: Kind::U64(Cell::new(
                move |row: &Traffic| measure.value(&row.measures, 0),
                move |row: &mut Traffic, value| {
                    if let Some(place) = measure.value_mut(&mut row.measures) {
                        *place = value;
                    }
                },
            )),
        });
    }
    fields.push(Field {
        name: "touched_lines".to_owned(),
        kind: Kind::Lines(
            |row: &Traffic| &row.lines,
            |row: &mut Traffic, lines| row.lines = lines,
        ),
    });
    fields
}

/// Those columns that the writer knew: an older one had fewer measures, and no totals of them.
fn written_traffic(summary: &Summary) -> Vec<Field<Traffic>> {
    let mut fields = traffic(summary);
    let is_written = |field: &Field<Traffic>| {
        !matches!(field.kind, Kind::U64(_)) || summary.totals.contains_key(&field.name)
    };
    fields.retain(is_written);
    fields
}

fn timeline(summary: &Summary) -> Vec<Field<TimelineBin>> {
    let mut fields = vec![id("bin")];
    fields.extend(fields!(TimelineBin {
        Text phase, OptionalU32 phase_index, U64 instructions_from, U64 instructions, U64 accesses,
        U64 dram_read_bytes, U64 dram_write_bytes,
    }));
    for (level, name) in summary.levels.iter().enumerate() {
        fields.push(Field {
            name: format!("{name}_misses"),
            kind: Kind::U64(Cell::new(
                move |bin: &TimelineBin| bin.misses[level],
                move |bin: &mut TimelineBin, misses| bin.misses[level] = misses,
            )),
        });
    }
    fields
}

fn locality() -> Vec<Field<LocalityCount>> {
    let mut fields = vec![Field {
        name: "quantity".to_owned(),
        kind: Kind::Text(Cell::new(
            |row: &LocalityCount| row.quantity.map(Quantity::name).unwrap_or_default(),
            |row: &mut LocalityCount, name| row.quantity = Quantity::parse(&name),
        )),
    }];
    fields.extend(fields!(LocalityCount {
        U32 context, OptionalU32 site, OptionalU32 object, U64 from, U64 to, U64 count, F64 sum,
    }));
    fields
}

/// Writes every file of a profile into an existing folder; the summary alone, if there is nothing else.
pub(super) fn write(folder: &Path, profile: &Profile) -> Result<(), ProfileError> {
    if !profile.summary.discarded {
        write_tables(folder, profile)?;
    }
    let path = folder.join(SUMMARY_FILE);
    let failed = |source| ProfileError::Write {
        path: path.clone(),
        source,
    };
    let mut json =
        serde_json::to_vec_pretty(&profile.summary).map_err(|error| failed(io::Error::from(error)))?;
    json.push(b'\n');
    fs::write(&path, json).map_err(failed)
}

fn write_tables(folder: &Path, profile: &Profile) -> Result<(), ProfileError> {
    let summary = &profile.summary;
    write_table(&folder.join(CONTEXTS_FILE), &contexts(summary), &profile.contexts)?;
    write_table(&folder.join(SITES_FILE), &sites(), &profile.sites)?;
    write_table(&folder.join(OBJECTS_FILE), &objects(), &profile.objects)?;
    write_table(
        &folder.join(TRAFFIC_FILE),
        &traffic(&profile.summary),
        &profile.traffic,
    )?;
    write_table(
        &folder.join(TIMELINE_FILE),
        &timeline(&profile.summary),
        &profile.timeline,
    )?;
    if summary.call_paths {
        write_table(&folder.join(PATHS_FILE), &paths(), &profile.paths)?;
    }
    if profile.summary.sampling.is_some() {
        write_table(&folder.join(STRATA_FILE), &strata(), &profile.strata)?;
    }
    if profile.summary.locality.is_some() {
        write_table(&folder.join(LOCALITY_FILE), &locality(), &profile.locality)?;
    }
    Ok(())
}

/// Reads a profile folder and checks that its parts fit together.
pub(super) fn read(folder: &Path) -> Result<Profile, ProfileError> {
    let summary = read_summary(folder)?;
    if summary.discarded {
        return Err(ProfileError::Discarded(folder.to_owned()));
    }
    let levels = summary.levels.len();
    let traffic_file = folder.join(TRAFFIC_FILE);
    let profile = Profile {
        contexts: read_table(&folder.join(CONTEXTS_FILE), &contexts(&summary), Context::default)?,
        sites: read_table(&folder.join(SITES_FILE), &sites(), Site::default)?,
        objects: read_table(&folder.join(OBJECTS_FILE), &objects(), Object::default)?,
        traffic: read_table(&traffic_file, &written_traffic(&summary), || Traffic {
            measures: Measures::new(levels),
            ..Traffic::default()
        })?,
        timeline: read_table(&folder.join(TIMELINE_FILE), &timeline(&summary), || TimelineBin {
            misses: vec![0; levels],
            ..TimelineBin::default()
        })?,
        paths: if summary.call_paths {
            read_table(&folder.join(PATHS_FILE), &paths(), CallPath::default)?
        } else {
            Vec::new()
        },
        strata: match summary.sampling {
            Some(_) => read_table(&folder.join(STRATA_FILE), &strata(), Stratum::default)?,
            None => Vec::new(),
        },
        locality: match summary.locality {
            Some(_) => read_table(&folder.join(LOCALITY_FILE), &locality(), LocalityCount::default)?,
            None => Vec::new(),
        },
        summary,
    };
    let known = |index: u32, count: usize| (index as usize) < count;
    let fits = profile.traffic.iter().all(|row| {
        known(row.context, profile.contexts.len())
            && known(row.site, profile.sites.len())
            && known(row.object, profile.objects.len())
    });
    let locality_fits = profile.locality.iter().all(|row| {
        known(row.context, profile.contexts.len())
            && row.site.is_none_or(|site| known(site, profile.sites.len()))
            && row
                .object
                .is_none_or(|object| known(object, profile.objects.len()))
    });
    if !locality_fits {
        return Err(ProfileError::Damaged {
            file: folder.join(LOCALITY_FILE),
            what: "a row names a context, site or object that the other tables lack".to_owned(),
        });
    }
    let sampled = |context: &Context| match (context.stratum, context.instance) {
        (Some(stratum), Some(_)) => known(stratum, profile.strata.len()),
        (None, None) => true,
        _ => false,
    };
    if !profile.contexts.iter().all(sampled) {
        return Err(ProfileError::Damaged {
            file: folder.join(CONTEXTS_FILE),
            what: "a row names a stratum that strata.parquet lacks".to_owned(),
        });
    }
    let of_paths = |context: &Context| context.path.is_none_or(|path| known(path, profile.paths.len()));
    let in_order = |(path, index): (&CallPath, u32)| path.before.is_none_or(|before| before < index);
    if !profile.contexts.iter().all(of_paths) || !profile.paths.iter().zip(0..).all(in_order) {
        return Err(ProfileError::Damaged {
            file: folder.join(PATHS_FILE),
            what: "a path is named before it is there".to_owned(),
        });
    }
    let damaged = |what: &str| {
        Err(ProfileError::Damaged {
            file: traffic_file.clone(),
            what: what.to_owned(),
        })
    };
    if !fits {
        return damaged("a row names a context, site or object that the other tables lack");
    }
    let mut sums = profile.sum_by_column();
    sums.retain(|name, sum| *sum > 0 || profile.summary.totals.contains_key(name));
    if sums != profile.summary.totals {
        return damaged("its rows do not add up to the totals of profile.json");
    }
    Ok(profile)
}

fn read_summary(folder: &Path) -> Result<Summary, ProfileError> {
    let file = folder.join(SUMMARY_FILE);
    let json = fs::read(&file).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound if folder.exists() => ProfileError::NotAProfile(folder.to_owned()),
        io::ErrorKind::NotFound => ProfileError::Missing(folder.to_owned()),
        io::ErrorKind::NotADirectory => ProfileError::NotAProfile(folder.to_owned()),
        _ => ProfileError::Read {
            file: file.clone(),
            source,
        },
    })?;
    let damaged = |what: String| ProfileError::Damaged {
        file: file.clone(),
        what,
    };
    // The version first: a newer summary need not fit this one's types.
    let value: serde_json::Value =
        serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
    let Some(schema_version) = value.get("schema_version").and_then(serde_json::Value::as_u64) else {
        return Err(damaged("it has no schema_version".to_owned()));
    };
    if schema_version > u64::from(SCHEMA_VERSION) {
        return Err(ProfileError::Newer {
            folder: folder.to_owned(),
            schema_version,
        });
    }
    serde_json::from_value(value).map_err(|error| damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_that_the_writer_did_not_know_is_zero() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut profile = Profile {
            contexts: vec![Context::default()],
            sites: vec![Site::default()],
            objects: vec![Object::default()],
            traffic: vec![Traffic::default()],
            ..Profile::default()
        };
        profile.traffic[0].measures.loads = 3;
        profile.traffic[0].measures.flops = 5;
        let mut older = profile.seal();
        write(folder.path(), &older).expect("written");
        assert_eq!(read(folder.path()).expect("as written").summary.total("flops"), 5);

        // As an older version would have written it: neither the column nor its total.
        let folder = tempfile::tempdir().expect("temporary folder");
        older.summary.totals.remove("flops");
        write(folder.path(), &older).expect("written");
        fs::remove_file(folder.path().join(TRAFFIC_FILE)).expect("removed");
        let fields = written_traffic(&older.summary);
        write_table(&folder.path().join(TRAFFIC_FILE), &fields, &older.traffic).expect("written");
        let back = read(folder.path()).expect("readable");
        let measures = &back.traffic[0].measures;
        assert_eq!((measures.loads, measures.flops), (3, 0));

        // A column whose total is there must be there too.
        older.summary.totals.insert("flops".to_owned(), 5);
        let json = serde_json::to_value(&older.summary).expect("JSON");
        fs::write(folder.path().join(SUMMARY_FILE), json.to_string()).expect("written");
        let error = read(folder.path()).expect_err("damaged").to_string();
        assert!(error.contains("no column flops"), "{error}");
    }
}
