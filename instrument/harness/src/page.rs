//! The page: a profile as one self-contained HTML file. It loads nothing, so it can be mailed and opened offline.
//!
//! Charts are SVG drawn here; the script only sorts tables. Every text that comes from the target is escaped.

mod boundary;
mod header;
mod heat;
mod locality;
mod markup;
mod operators;
mod outcomes;
mod phases;
mod stalls;
mod svg;
mod tables;
mod timeline;

use crate::profile::{Profile, Summary};
use crate::report::{Key, Query, Report};
use markup::escape;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/sort.js");

/// A profile as an HTML page.
#[must_use]
pub fn html(profile: &Profile) -> String {
    let summary = &profile.summary;
    let without_sites = &profile.without_sites();
    let sections = [
        header::draw(without_sites),
        operators::draw(without_sites),
        timeline::draw(profile),
        phases::draw(without_sites),
        heat::draw(without_sites),
        stalls::draw(without_sites),
        outcomes::draw(without_sites),
        locality::draw(profile),
        tables::draw(profile, without_sites),
        header::machine(summary),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} · memloupe</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        title = escape(&title(summary)),
        body = sections.concat(),
    )
}

/// The program's name without its folders.
fn title(summary: &Summary) -> String {
    let program = summary.command.first().map_or("profile", String::as_str);
    program.rsplit('/').next().unwrap_or(program).to_owned()
}

/// A grouping without footprints.
fn grouped(profile: &Profile, keys: &[Key]) -> Report {
    Query::by(keys)
        .without_footprints()
        .run(profile)
        .expect("a query that names no column can be answered")
}

fn grouped_with_footprints(profile: &Profile, keys: &[Key]) -> Report {
    Query::by(keys)
        .run(profile)
        .expect("a query that names no column can be answered")
}
