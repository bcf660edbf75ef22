//! The nodes that a pass has reached and not yet run, with the gradients gathered for their results.

use crate::graph::Node;
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use tensor_core::Backend;

/// Up to how many things are looked through one by one. Most graphs never have more nodes waiting, and then a pass needs
/// neither a heap nor hashes.
pub(super) const NEAR: usize = 8;

/// The gradients gathered for a node's results.
pub(super) type Slots<B> = SmallVec<[Option<Tensor<B>>; 1]>;

/// Addresses are good hashes but for their lowest bits.
#[derive(Default)]
pub(super) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.wrapping_mul(31).wrapping_add(u64::from(byte));
        }
    }
    fn write_usize(&mut self, value: usize) {
        self.0 = (self.0.rotate_left(5) ^ (value as u64 >> 4)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// What makes [`AddressHasher`]s.
pub(super) type ByAddressHasher = BuildHasherDefault<AddressHasher>;

/// A map whose keys are addresses.
pub(super) type ByAddress<K, V> = HashMap<K, V, ByAddressHasher>;

/// When a node runs: the highest level first, so that its consumers have run; then in the order in which nodes were reached,
/// so that a pass gives the same bits every time.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Turn {
    level: u64,
    number: u64,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.level.cmp(&other.level).then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A node in the heap; its gradients are in the map beside it.
struct Far<B: Backend>(Turn, Arc<Node<B>>);

impl<B: Backend> PartialEq for Far<B> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<B: Backend> Eq for Far<B> {}

impl<B: Backend> Ord for Far<B> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<B: Backend> PartialOrd for Far<B> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The nodes waiting: a few in a list, more than that in a heap.
pub(super) struct Queue<B: Backend> {
    near: Vec<(Turn, Arc<Node<B>>, Slots<B>)>,
    far: BinaryHeap<Far<B>>,
    far_slots: ByAddress<usize, Slots<B>>,
    reached: u64,
}

impl<B: Backend> Queue<B> {
    pub(super) fn new() -> Self {
        Self { near: Vec::new(), far: BinaryHeap::new(), far_slots: HashMap::default(), reached: 0 }
    }

    /// The gradients gathered for a node, which waits from now on.
    pub(super) fn slots(&mut self, node: &Arc<Node<B>>) -> &mut Slots<B> {
        let place = self.near.iter().position(|(_, held, _)| Arc::ptr_eq(held, node));
        if let Some(place) = place {
            return &mut self.near[place].2;
        }
        let key = Arc::as_ptr(node).addr();
        let turn = Turn { level: node.level, number: self.reached };
        let known = !self.far_slots.is_empty() && self.far_slots.contains_key(&key);
        if !known {
            self.reached += 1;
            if self.near.len() < NEAR {
                let place = self.near.len();
                self.near.push((turn, node.clone(), Slots::new()));
                return &mut self.near[place].2;
            }
            self.far.push(Far(turn, node.clone()));
        }
        self.far_slots.entry(key).or_default()
    }

    /// The node whose turn it is.
    pub(super) fn pop(&mut self) -> Option<(Arc<Node<B>>, Slots<B>)> {
        let near =
            self.near.iter().enumerate().max_by_key(|(_, (turn, ..))| *turn).map(|(place, (turn, ..))| (place, *turn));
        let far = self.far.peek().map(|far| far.0);
        match near {
            Some((place, turn)) if far.is_none_or(|far| far < turn) => {
                let (_, node, slots) = self.near.swap_remove(place);
                Some((node, slots))
            }
            _ => {
                let Far(_, node) = self.far.pop()?;
                let slots = self.far_slots.remove(&Arc::as_ptr(&node).addr()).unwrap_or_default();
                Some((node, slots))
            }
        }
    }
}
