//! Next-line prefetching, tagged: the line after each one that missed or is used for the first time since it was
//! prefetched. Smith: Cache memories, ACM Computing Surveys 14(3), 1982.

use super::{Access, Geometry, Prefetcher, Requests};

#[derive(Debug)]
pub(crate) struct NextLine;

impl Prefetcher for NextLine {
    fn new(_geometry: &Geometry) -> Self {
        Self
    }

    fn access(&mut self, access: &Access, requests: &mut Requests) {
        if access.is_news() {
            requests.push(access.line + 1);
        }
    }
}
