//! A map from whole ranges of numbers to values.
//!
//! Problem: tariffs, page permissions or address assignments say "from 100 up to 199: A". A
//! later rule may overwrite the middle of an earlier one. Storing one entry per number is
//! wasteful; the map keeps disjoint half-open ranges in a B-tree ordered by their start.
//! Assigning to a range cuts the ranges it overlaps, and joins neighbours with equal values,
//! so the number of entries always stays minimal.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// Disjoint ranges, keyed by start; each entry holds its end and its value.
#[derive(Clone, Default, PartialEq)]
pub struct IntervalMap<V> {
    entries: BTreeMap<u64, (u64, V)>,
}

impl<V: Clone + PartialEq> IntervalMap<V> {
    pub fn new() -> Self {
        IntervalMap { entries: BTreeMap::new() }
    }

    /// The value at one point, if any range covers it.
    pub fn get(&self, point: u64) -> Option<&V> {
        let (_, (end, value)) = self.entries.range(..=point).next_back()?;
        (point < *end).then_some(value)
    }

    /// Give every point of the range this value, whatever was there before.
    pub fn assign(&mut self, range: Range<u64>, value: V) {
        if range.is_empty() {
            return;
        }
        self.clear(range.clone());
        let Range { mut start, mut end } = range;
        if let Some((&left, (left_end, left_value))) = self.entries.range(..start).next_back() {
            if *left_end == start && *left_value == value {
                start = left;
            }
        }
        if let Some((right_end, right_value)) = self.entries.get(&end) {
            if *right_value == value {
                let new_end = *right_end;
                self.entries.remove(&end);
                end = new_end;
            }
        }
        self.entries.insert(start, (end, value));
    }

    /// Remove all values from a range; ranges that stick out are cut.
    pub fn clear(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        self.split_at(range.start);
        self.split_at(range.end);
        let inside: Vec<u64> = self.entries.range(range).map(|(&start, _)| start).collect();
        for start in inside {
            self.entries.remove(&start);
        }
    }

    /// Make sure that no entry has this point strictly inside.
    fn split_at(&mut self, point: u64) {
        if let Some((_, entry)) = self.entries.range_mut(..point).next_back() {
            if entry.0 > point {
                let tail = (entry.0, entry.1.clone());
                entry.0 = point;
                self.entries.insert(point, tail);
            }
        }
    }

    /// The parts of a range without any value, in ascending order.
    pub fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        if let Some((_, (end, _))) = self.entries.range(..=at).next_back() {
            at = at.max(*end);
        }
        for (&start, &(end, _)) in self.entries.range(range.clone()) {
            if start > at {
                gaps.push(at..start);
            }
            at = at.max(end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    pub fn iter(&self) -> impl Iterator<Item = (Range<u64>, &V)> {
        self.entries.iter().map(|(&start, (end, value))| (start..*end, value))
    }
}

impl<V: Clone + PartialEq + fmt::Display> fmt::Display for IntervalMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (range, value) in self.iter() {
            write!(f, "[{}, {}) {}; ", range.start, range.end, value)?;
        }
        Ok(())
    }
}

fn main() {
    let mut tariff = IntervalMap::new();
    tariff.assign(0..1000, "basic");
    tariff.assign(300..400, "night");
    tariff.assign(350..500, "day");
    println!("{tariff}");
    assert_eq!(tariff.get(349), Some(&"night"));
    assert_eq!(tariff.get(350), Some(&"day"));
    assert_eq!(tariff.get(1000), None);

    tariff.clear(200..250);
    tariff.assign(1000..1200, "basic"); // joins its left neighbour
    assert_eq!(tariff.iter().last().map(|(r, _)| r), Some(500..1200));
    assert_eq!(tariff.gaps(100..1300), vec![200..250, 1200..1300]);
    tariff.assign(0..1200, "basic"); // everything becomes one entry again
    assert_eq!(tariff.iter().count(), 1);

    // Compare with a plain array under many pseudo-random assignments.
    let mut plain = [None; 64];
    let mut map = IntervalMap::new();
    let mut state = 12345u64;
    for _ in 0..2000 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let (a, b, value) = ((state >> 20) % 65, (state >> 30) % 65, (state >> 40) % 4);
        let range = a.min(b)..a.max(b);
        plain[range.start as usize..range.end as usize].fill((value > 0).then_some(value));
        if value > 0 { map.assign(range, value) } else { map.clear(range) }
        assert!((0..64).all(|p| map.get(p) == plain[p as usize].as_ref()));
    }
    println!("2000 random changes agree with a plain array");
}
