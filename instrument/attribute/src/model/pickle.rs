//! Pickles, as far as PyTorch writes them (protocols 2 to 5): values are built, nothing is ever called.
//!
//! Format: `Lib/pickletools.py` of CPython describes each opcode. What calls make of their arguments stays symbolic
//! ([`Node::Call`]); opcodes that PyTorch's writers don't use are refused by number.

use std::collections::HashMap;

/// Index of a node. Nodes refer to nodes, also in cycles.
pub(super) type NodeId = usize;

/// Opcodes that a checkpoint may have; one of a billion parameters has some ten thousand.
const MAX_NODES: usize = 20_000_000;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// `None`, floating-point numbers, byte strings: nothing that names or places a tensor.
    Opaque,
    Integer(i64),
    Text(String),
    /// Tuples, lists and sets.
    Sequence(Vec<NodeId>),
    /// Keys and values.
    Dictionary(Vec<(NodeId, NodeId)>),
    /// A class or function: module and name.
    Global(String, String),
    /// `persistent_load` of a key: PyTorch's storages.
    Persistent(NodeId),
    /// What a callable makes of its arguments, and the state or items that it is given after.
    Call {
        callable: NodeId,
        arguments: NodeId,
        state: Option<NodeId>,
        items: Vec<(NodeId, NodeId)>,
    },
}

/// The values of a pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    nodes: Vec<Node>,
    root: NodeId,
}

impl Pickle {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, (usize, String)> {
        let mut machine = Machine {
            bytes,
            position: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        match machine.run() {
            Ok(root) => Ok(Self {
                nodes: machine.nodes,
                root,
            }),
            Err(what) => Err((machine.position, what)),
        }
    }

    pub(super) fn root(&self) -> NodeId {
        self.root
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    pub(super) fn sequence(&self, id: NodeId) -> Option<&[NodeId]> {
        match self.node(id) {
            Node::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn text(&self, id: NodeId) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn natural(&self, id: NodeId) -> Option<u64> {
        match self.node(id) {
            Node::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    nodes: Vec<Node>,
    stack: Vec<NodeId>,
    marks: Vec<usize>,
    memo: HashMap<u64, NodeId>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<NodeId, String> {
        loop {
            match self.array::<1>()?[0] {
                0x80 => _ = self.take(1)?, // PROTO
                0x95 => _ = self.take(8)?, // FRAME
                b'.' => return self.pop(), // STOP
                // Values.
                b'N' => self.push(Node::Opaque)?,
                0x88 | 0x89 => self.push(Node::Opaque)?, // NEWTRUE, NEWFALSE
                b'G' => {
                    self.take(8)?;
                    self.push(Node::Opaque)?;
                }
                b'J' => {
                    let number = i32::from_le_bytes(self.array()?);
                    self.push(Node::Integer(number.into()))?;
                }
                b'K' => self.natural(1)?,
                b'M' => self.natural(2)?,
                0x8a => self.long(1)?,
                0x8b => self.long(4)?,
                b'X' => self.text(4)?,
                0x8c => self.text(1)?,
                0x8d => self.text(8)?,
                b'T' => self.text(4)?,
                b'U' => self.text(1)?,
                b'B' => self.byte_string(4)?,
                b'C' => self.byte_string(1)?,
                0x8e | 0x96 => self.byte_string(8)?,
                // Containers.
                b'}' => self.push(Node::Dictionary(Vec::new()))?,
                b']' | b')' | 0x8f => self.push(Node::Sequence(Vec::new()))?,
                b'(' => self.marks.push(self.stack.len()),
                b't' | b'l' | 0x91 => {
                    let items = self.pop_mark()?;
                    self.push(Node::Sequence(items))?;
                }
                count @ 0x85..=0x87 => {
                    let items = self.pop_many(usize::from(count - 0x84))?;
                    self.push(Node::Sequence(items))?;
                }
                b'd' => {
                    let items = pairs(&self.pop_mark()?)?;
                    self.push(Node::Dictionary(items))?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend(vec![item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_mark()?;
                    self.extend(items)?;
                }
                b's' => {
                    let items = self.pop_many(2)?;
                    self.set(pairs(&items)?)?;
                }
                b'u' => {
                    let items = pairs(&self.pop_mark()?)?;
                    self.set(items)?;
                }
                // Objects.
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Node::Global(module, name))?;
                }
                0x93 => {
                    let names = self.pop_many(2)?;
                    let mut names = names.into_iter().map(|id| match &self.nodes[id] {
                        Node::Text(text) => Ok(text.clone()),
                        other => Err(format!("a class named by {other:?}")),
                    });
                    let (Some(module), Some(name)) = (names.next(), names.next()) else {
                        return Err("a class without a name".to_owned());
                    };
                    let global = Node::Global(module?, name?);
                    self.push(global)?;
                }
                b'R' | 0x81 => self.call()?,
                0x92 => {
                    self.pop()?; // keyword arguments
                    self.call()?;
                }
                b'b' => {
                    let given = self.pop()?;
                    if let Node::Call { state, .. } = self.top()? {
                        *state = Some(given);
                    }
                }
                b'Q' => {
                    let key = self.pop()?;
                    self.push(Node::Persistent(key))?;
                }
                // The memo and the stack.
                b'q' => self.remember(1)?,
                b'r' => self.remember(4)?,
                0x94 => {
                    let key = self.memo.len() as u64;
                    let id = *self.stack.last().ok_or(EMPTY)?;
                    self.memo.insert(key, id);
                }
                b'h' => self.recall(1)?,
                b'j' => self.recall(4)?,
                b'0' => _ = self.pop()?,
                b'1' => _ = self.pop_mark()?,
                b'2' => {
                    let id = *self.stack.last().ok_or(EMPTY)?;
                    self.stack.push(id);
                }
                opcode => return Err(format!("opcode {opcode:#04x}, which PyTorch does not write")),
            }
        }
    }

    fn push(&mut self, node: Node) -> Result<(), String> {
        if self.nodes.len() == MAX_NODES {
            return Err(format!("more than {MAX_NODES} values"));
        }
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    fn pop(&mut self) -> Result<NodeId, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(EMPTY.to_owned());
        }
        self.stack.pop().ok_or_else(|| EMPTY.to_owned())
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<NodeId>, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self
            .stack
            .len()
            .checked_sub(count)
            .filter(|start| *start >= floor);
        Ok(self.stack.split_off(start.ok_or(EMPTY)?))
    }

    fn pop_mark(&mut self) -> Result<Vec<NodeId>, String> {
        let mark = self.marks.pop().ok_or("a mark that was not set")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Result<&mut Node, String> {
        let id = *self.stack.last().ok_or(EMPTY)?;
        Ok(&mut self.nodes[id])
    }

    fn call(&mut self) -> Result<(), String> {
        let arguments = self.pop()?;
        let callable = self.pop()?;
        self.push(Node::Call {
            callable,
            arguments,
            state: None,
            items: Vec::new(),
        })
    }

    fn extend(&mut self, new: Vec<NodeId>) -> Result<(), String> {
        if let Node::Sequence(items) = self.top()? {
            items.extend(new);
        }
        Ok(())
    }

    /// `collections.OrderedDict` and its like are calls that are given items.
    fn set(&mut self, new: Vec<(NodeId, NodeId)>) -> Result<(), String> {
        if let Node::Dictionary(items) | Node::Call { items, .. } = self.top()? {
            items.extend(new);
        }
        Ok(())
    }

    fn remember(&mut self, key_bytes: usize) -> Result<(), String> {
        let key = self.number(key_bytes)?;
        let id = *self.stack.last().ok_or(EMPTY)?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key_bytes: usize) -> Result<(), String> {
        let key = self.number(key_bytes)?;
        let id = self
            .memo
            .get(&key)
            .ok_or_else(|| format!("memo {key} was not set"))?;
        self.stack.push(*id);
        Ok(())
    }

    fn natural(&mut self, bytes: usize) -> Result<(), String> {
        let number = self.number(bytes)?;
        self.push(Node::Integer(number as i64))
    }

    /// An integer of any length, little-endian, two's complement.
    fn long(&mut self, length_bytes: usize) -> Result<(), String> {
        let length = self.number(length_bytes)? as usize;
        let bytes = self.take(length)?;
        let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut word = [if is_negative { 0xff } else { 0 }; 8];
        let node = match word.get_mut(..length) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Node::Integer(i64::from_le_bytes(word))
            }
            None => Node::Opaque,
        };
        self.push(node)
    }

    fn text(&mut self, length_bytes: usize) -> Result<(), String> {
        let length = self.number(length_bytes)? as usize;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(Node::Text(text))
    }

    fn byte_string(&mut self, length_bytes: usize) -> Result<(), String> {
        let length = self.number(length_bytes)? as usize;
        self.take(length)?;
        self.push(Node::Opaque)
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        let length = length.ok_or("a line without an end")?;
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.position += length + 1;
        Ok(text)
    }

    fn number(&mut self, bytes: usize) -> Result<u64, String> {
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(self.take(bytes)?);
        Ok(u64::from_le_bytes(word))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let left = self.bytes.len() - self.position;
        if count > left {
            return Err(format!(
                "{count} bytes should follow, but the pickle ends after {left}"
            ));
        }
        self.position += count;
        Ok(&self.bytes[self.position - count..self.position])
    }
}

const EMPTY: &str = "a value is taken from an empty stack";

fn pairs(items: &[NodeId]) -> Result<Vec<(NodeId, NodeId)>, String> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a key without a value".to_owned());
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}
