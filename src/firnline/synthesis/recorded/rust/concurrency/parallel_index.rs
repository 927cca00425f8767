//! Build a word index over many documents with a pool of scoped worker threads.
//!
//! Problem: indexing is independent per document, so several cores should help; but one shared
//! index behind a lock would make the workers wait for each other all the time. Each worker
//! therefore fills a private index (map), and the private indexes are merged pairwise at the
//! end (reduce). Work is handed out in small portions by an atomic counter, so that a few huge
//! documents do not leave the other workers idle.
//!
//! A worker that panics must not take the whole build down: its portion is reported.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Document numbers and word positions for one word, ascending.
type Postings = Vec<(usize, usize)>;
type Index = BTreeMap<String, Postings>;

const PORTION: usize = 4;

/// What a build returns: the index, and the documents that could not be read.
struct Outcome {
    index: Index,
    failed: Vec<usize>,
}

fn index_document(number: usize, text: &str, index: &mut Index) {
    if text.contains('\0') {
        panic!("document {number} is binary"); // stands for any bug in a parser
    }
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    for (position, word) in words.enumerate() {
        index.entry(word.to_lowercase()).or_default().push((number, position));
    }
}

/// Merge the smaller index into the larger one.
fn merge(a: Index, b: Index) -> Index {
    let (mut large, small) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    for (word, postings) in small {
        large.entry(word).or_default().extend(postings);
    }
    large
}

fn build(documents: &[String], workers: usize) -> Outcome {
    let next = AtomicUsize::new(0);
    let (failures, failed) = mpsc::channel();
    let parts: Vec<Index> = thread::scope(|scope| {
        let handles: Vec<_> = (0..workers.max(1))
            .map(|_| {
                let failures = failures.clone();
                let next = &next;
                scope.spawn(move || {
                    let mut index = Index::new();
                    loop {
                        let start = next.fetch_add(PORTION, Ordering::Relaxed);
                        if start >= documents.len() {
                            return index;
                        }
                        let end = documents.len().min(start + PORTION);
                        for number in start..end {
                            let mut own = Index::new(); // so a panic leaves no half document
                            let attempt = panic::catch_unwind(AssertUnwindSafe(|| {
                                index_document(number, &documents[number], &mut own)
                            }));
                            match attempt {
                                Ok(()) => index = merge(std::mem::take(&mut index), own),
                                Err(_) => failures.send(number).expect("receiver is alive"),
                            }
                        }
                    }
                })
            })
            .collect();
        handles.into_iter().map(|h| h.join().expect("panics are caught inside")).collect()
    });
    drop(failures); // the last sender: ends the iteration over the receiver
    let mut index = parts.into_iter().reduce(merge).unwrap_or_default();
    for postings in index.values_mut() {
        postings.sort_unstable(); // merging does not keep the order of documents
    }
    let mut failed: Vec<usize> = failed.iter().collect();
    failed.sort_unstable();
    Outcome { index, failed }
}

/// Documents in which the words of a phrase follow each other.
fn find_phrase(index: &Index, phrase: &[&str]) -> Vec<usize> {
    let lists: Option<Vec<&Postings>> = phrase.iter().map(|word| index.get(*word)).collect();
    let Some((first, rest)) = lists.as_deref().and_then(|l| l.split_first()) else {
        return Vec::new();
    };
    let mut found: Vec<usize> = first
        .iter()
        .filter(|&&(document, position)| {
            rest.iter().enumerate().all(|(offset, list)| {
                list.binary_search(&(document, position + offset + 1)).is_ok()
            })
        })
        .map(|&(document, _)| document)
        .collect();
    found.dedup();
    found
}

fn main() {
    let nouns = ["river", "stone", "bridge", "mill"];
    let mut documents: Vec<String> = (0..400)
        .map(|i| format!("The old {} near the {}. No. {i}", nouns[i % 4], nouns[i / 4 % 4]))
        .collect();
    documents[57] = "broken \0 file".into();
    documents[123].push_str(" Stone BRIDGE over the river!");

    panic::set_hook(Box::new(|_| {})); // the report below replaces the usual message
    let outcome = build(&documents, 4);
    let alone = build(&documents, 1);
    println!("{} words, failed documents {:?}", outcome.index.len(), outcome.failed);
    assert_eq!(outcome.index, alone.index, "the number of workers changes nothing");
    assert_eq!(outcome.failed, [57]);
    assert_eq!(find_phrase(&outcome.index, &["stone", "bridge", "over"]), [123]);
    assert_eq!(find_phrase(&outcome.index, &["old", "mill"]).len(), 100);
    assert!(find_phrase(&outcome.index, &["purple", "mill"]).is_empty());
    assert!(build(&[], 3).index.is_empty());
}
