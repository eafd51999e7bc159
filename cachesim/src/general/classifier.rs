//! Why a miss missed. Hill, Smith: Evaluating associativity in CPU caches, IEEE TC 38(12), 1989: compulsory if the line
//! was never here; coherence if another core's store took it away; capacity if a fully associative LRU cache of the same number of lines misses too; else conflict.
//!
//! Models the fully associative cache beside the real one, fed with the same accesses and writebacks. Its memory is
//! about 40 bytes for each line of the cache, and 13 for each line ever seen.

use crate::line_map::LineMap;

/// The cause of a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MissClass {
    Compulsory,
    Capacity,
    Conflict,
    Coherence,
}

// Where a line is: the number of its node, or this.
const GONE: u32 = u32::MAX;
// Where a line is that another core took away.
const TAKEN: u32 = u32::MAX - 1;

#[derive(Debug)]
struct Node {
    line: u64,
    newer: u32,
    older: u32,
}

#[derive(Debug)]
pub(super) struct Classifier {
    capacity: usize,
    places: LineMap<u32>,
    // A ring in the order of last use; node 0 belongs to no line and lies between the newest and the oldest.
    nodes: Vec<Node>,
    // Nodes of lines that were taken away.
    free: Vec<u32>,
}

impl Classifier {
    pub(super) fn new(lines: u64) -> Self {
        let ring = Node {
            line: 0,
            newer: 0,
            older: 0,
        };
        Self {
            capacity: lines as usize,
            places: LineMap::default(),
            nodes: vec![ring],
            free: Vec::new(),
        }
    }

    /// Shows the classifier an access; returns the class that it has if it is a miss.
    pub(super) fn access(&mut self, line: u64) -> MissClass {
        let (class, node) = match self.places.get(&line) {
            None => (MissClass::Compulsory, None),
            Some(&GONE) => (MissClass::Capacity, None),
            Some(&TAKEN) => (MissClass::Coherence, None),
            Some(&node) => (MissClass::Conflict, Some(node)),
        };
        let node = match node {
            Some(node) => {
                self.unlink(node);
                node
            }
            None => self.make_room(),
        };
        self.nodes[node as usize].line = line;
        self.link_newest(node);
        self.places.insert(line, node);
        class
    }

    /// Another core takes `line` away.
    pub(super) fn invalidate(&mut self, line: u64) {
        if let Some(node) = self.places.insert(line, TAKEN)
            && node < TAKEN
        {
            self.unlink(node);
            self.free.push(node);
        }
    }

    fn make_room(&mut self) -> u32 {
        if let Some(node) = self.free.pop() {
            return node;
        }
        if self.nodes.len() <= self.capacity {
            self.nodes.push(Node {
                line: 0,
                newer: 0,
                older: 0,
            });
            return (self.nodes.len() - 1) as u32;
        }
        // The ring's newer neighbour is the oldest line.
        let oldest = self.nodes[0].newer;
        self.unlink(oldest);
        self.places.insert(self.nodes[oldest as usize].line, GONE);
        oldest
    }

    fn unlink(&mut self, node: u32) {
        let Node { newer, older, .. } = self.nodes[node as usize];
        self.nodes[newer as usize].older = older;
        self.nodes[older as usize].newer = newer;
    }

    fn link_newest(&mut self, node: u32) {
        let newest = self.nodes[0].older;
        self.nodes[node as usize].older = newest;
        self.nodes[node as usize].newer = 0;
        self.nodes[newest as usize].newer = node;
        self.nodes[0].older = node;
    }
}
