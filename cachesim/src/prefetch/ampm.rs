//! Access map pattern matching. Ishii, Inaba, Hiraki: Access map pattern matching prefetch: optimization friendly method,
//! Data Prefetching Championship 2009 and ICS 2009.
//!
//! Models maps of the accessed lines of the 64 pages used last. For each stride up to half a page, in both directions, if
//! the lines one and two strides before the access were accessed, the line one stride after it is asked for; the nearest
//! four that are not in the map yet. The paper's prefetched and successful states, and its choice of the degree by
//! bandwidth, are not modelled.

use super::{Access, Geometry, Prefetcher, Requests};

const MAPS: usize = 64;
const DEGREE: usize = 4;

#[derive(Debug)]
struct Map {
    page: u64,
    // A bit per line.
    accessed: Vec<u64>,
}

impl Map {
    fn holds(&self, line: i64) -> bool {
        usize::try_from(line)
            .ok()
            .and_then(|line| Some(self.accessed.get(line / 64)? >> (line % 64) & 1 == 1))
            .unwrap_or(false)
    }
}

#[derive(Debug)]
pub(crate) struct Ampm {
    page_lines: u64,
    // Least recently used first.
    maps: Vec<Map>,
}

impl Prefetcher for Ampm {
    fn new(geometry: &Geometry) -> Self {
        Self {
            page_lines: geometry.page_lines,
            maps: Vec::with_capacity(MAPS + 1),
        }
    }

    fn access(&mut self, access: &Access, requests: &mut Requests) {
        let (page, at) = (access.line / self.page_lines, access.line % self.page_lines);
        let found = self.maps.iter().rposition(|map| map.page == page);
        let mut map = match found {
            Some(found) => self.maps.remove(found),
            None => {
                if self.maps.len() == MAPS {
                    self.maps.remove(0);
                }
                Map {
                    page,
                    accessed: vec![0; self.page_lines.div_ceil(64) as usize],
                }
            }
        };
        let at = at as i64;
        map.accessed[at as usize / 64] |= 1 << (at % 64);
        let half = self.page_lines as i64 / 2;
        let strides = (1..=half).flat_map(|stride| [stride, -stride]);
        let fits = |stride: &i64| {
            let stride = *stride;
            let ahead = at + stride;
            (0..self.page_lines as i64).contains(&ahead)
                && map.holds(at - stride)
                && map.holds(at - 2 * stride)
                && !map.holds(ahead)
        };
        for stride in strides.filter(fits).take(DEGREE) {
            requests.push(access.line.wrapping_add(stride as u64));
        }
        self.maps.push(map);
    }
}
