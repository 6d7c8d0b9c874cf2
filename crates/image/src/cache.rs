//! What reading keeps: pages of the index and decoded frames, the latest used, in one bounded memory.

use crate::page::Frame;
use block::{Extent, Result};
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that are kept, about: 64 pages of the index are 5 MiB, 256 frames of the smallest grid 16 MiB.
const CAPACITY: usize = 24 << 20;
/// Frames that there is room for, however large they are: this one, the one before, and some that are read ahead.
const LEAST: usize = 4;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A page of the index with frames, by its number.
    Frames(u32),
    /// A page of the index with extents.
    Extents(u32),
    /// The plain bytes of a frame: number of the stored file, plain offset.
    Plain(u32, u64),
}

/// A value that can be kept.
pub(crate) trait Value: Sized {
    /// Under a common type.
    fn keep(this: Arc<Self>) -> Kept;
    /// Back from there.
    fn of(kept: &Kept) -> Option<Arc<Self>>;
    /// Bytes of memory.
    fn weight(&self) -> usize;
}

#[derive(Clone, Debug)]
pub(crate) enum Kept {
    Frames(Arc<Vec<Frame>>),
    Extents(Arc<Vec<Extent>>),
    Plain(Arc<Vec<u8>>),
}

macro_rules! value {
    ($type:ty, $kind:ident) => {
        impl Value for Vec<$type> {
            fn keep(this: Arc<Self>) -> Kept {
                Kept::$kind(this)
            }

            fn of(kept: &Kept) -> Option<Arc<Self>> {
                match kept {
                    Kept::$kind(value) => Some(Arc::clone(value)),
                    _ => None,
                }
            }

            fn weight(&self) -> usize {
                self.capacity() * size_of::<$type>()
            }
        }
    };
}
value!(Frame, Frames);
value!(Extent, Extents);
value!(u8, Plain);

/// Any number of threads may ask. What one of them is making, the others wait for.
#[derive(Debug)]
pub(crate) struct Cache {
    state: Mutex<State>,
    made: Condvar,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<Key, Slot>,
    weight: usize,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
enum Slot {
    /// Somebody will make it, unless another one wants it before.
    Planned,
    /// It is being made.
    Making,
    Here(Held),
}

#[derive(Debug)]
struct Held {
    value: Kept,
    weight: usize,
    used: u64,
}

impl State {
    /// What is kept under a key, and now used.
    fn find<V: Value>(&mut self, key: Key) -> Option<Arc<V>> {
        self.clock += 1;
        let Slot::Here(held) = self.slots.get_mut(&key)? else { return None };
        held.used = self.clock;
        V::of(&held.value)
    }

    /// Keeps it no longer.
    fn remove(&mut self, key: Key) -> Option<Held> {
        match self.slots.remove(&key)? {
            Slot::Here(held) => {
                self.weight -= held.weight;
                Some(held)
            }
            Slot::Planned | Slot::Making => None,
        }
    }

    fn keep(&mut self, key: Key, value: Kept, weight: usize, capacity: usize) {
        while self.weight + weight > capacity {
            let kept = self.slots.iter().filter_map(|(key, slot)| match slot {
                Slot::Here(held) => Some((held.used, *key)),
                Slot::Planned | Slot::Making => None,
            });
            let Some((_, oldest)) = kept.min_by_key(|(used, _)| *used) else { break };
            self.remove(oldest);
        }
        self.clock += 1;
        self.weight += weight;
        self.slots.insert(key, Slot::Here(Held { value, weight, used: self.clock }));
    }
}

/// Gives a key free again if making its value failed, by an error or a panic.
struct Making<'a> {
    cache: &'a Cache,
    key: Key,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        if matches!(state.slots.get(&self.key), Some(Slot::Making)) {
            state.slots.remove(&self.key);
        }
        drop(state);
        self.cache.made.notify_all();
    }
}

impl Cache {
    /// For frames of at most `grid` bytes.
    pub(crate) fn new(grid: u64) -> Self {
        let frame = usize::try_from(grid).unwrap_or(CAPACITY);
        let capacity = CAPACITY.max(frame.saturating_mul(LEAST));
        Self { state: Mutex::default(), made: Condvar::new(), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of `key`, made by `make` if it is not here. An error is not kept.
    pub(crate) fn get<V: Value>(&self, key: Key, make: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
        let mut state = self.settled(key);
        if let Some(value) = state.find(key) {
            return Ok(value);
        }
        state.slots.insert(key, Slot::Making);
        drop(state); // others may read meanwhile
        self.make(key, make)
    }

    /// The value of `key` if it is here, which is kept no longer. If it was planned, it is not any more.
    pub(crate) fn take<V: Value>(&self, key: Key) -> Option<Arc<V>> {
        let held = self.settled(key).remove(key)?;
        V::of(&held.value)
    }

    /// Says that [`Cache::carry_out`] will make the value of `key`; `false` if there is nothing to be done.
    pub(crate) fn plan(&self, key: Key) -> bool {
        let mut state = self.lock();
        let new = !state.slots.contains_key(&key);
        if new {
            state.slots.insert(key, Slot::Planned);
        }
        new
    }

    /// Makes the value of `key`, if it is planned still.
    pub(crate) fn carry_out<V: Value>(&self, key: Key, make: impl FnOnce() -> Result<V>) -> Result<()> {
        match self.lock().slots.get_mut(&key) {
            Some(slot @ Slot::Planned) => *slot = Slot::Making,
            _ => return Ok(()),
        }
        self.make(key, make).map(drop)
    }

    /// The plan for `key` will not be carried out.
    pub(crate) fn give_up(&self, key: Key) {
        let mut state = self.lock();
        if matches!(state.slots.get(&key), Some(Slot::Planned)) {
            state.slots.remove(&key);
        }
    }

    /// Waits until nobody is making the value of `key`.
    fn settled(&self, key: Key) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while matches!(state.slots.get(&key), Some(Slot::Making)) {
            state = self.made.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Makes the value of a key whose slot says so.
    fn make<V: Value>(&self, key: Key, make: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
        let making = Making { cache: self, key };
        let value = Arc::new(make()?);
        let weight = value.weight() + size_of::<(Key, Slot)>();
        self.lock().keep(key, V::keep(Arc::clone(&value)), weight, self.capacity);
        drop(making);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::{Error, ErrorKind};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    fn frame(cache: &Cache, at: u64, len: usize) -> Arc<Vec<u8>> {
        cache.get(Key::Plain(0, at), || Ok(vec![7; len])).unwrap()
    }

    fn has(cache: &Cache, at: u64) -> bool {
        cache.lock().slots.contains_key(&Key::Plain(0, at))
    }

    #[test]
    fn the_latest_used_stay_within_the_memory() {
        let cache = Cache::new(1 << 17);
        for at in 0..1000 {
            frame(&cache, at, 1 << 17);
            frame(&cache, 0, 1 << 17);
            assert!(cache.lock().weight <= CAPACITY);
        }
        let has: Vec<_> = (0..1000).filter(|at| has(&cache, *at)).collect();
        assert_eq!((has[0], has[1], has.len()), (0, 1000 - 190, 191));
        let weight = |slot: &Slot| if let Slot::Here(held) = slot { held.weight } else { 0 };
        let weights: usize = cache.lock().slots.values().map(weight).sum();
        assert_eq!(cache.lock().weight, weights);
    }

    #[test]
    fn some_frames_have_room_however_large_they_are() {
        assert_eq!(Cache::new(1 << 24).capacity, 4 << 24);
    }

    #[test]
    fn what_one_thread_makes_the_others_wait_for() {
        let (cache, made) = (Cache::new(1), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for at in 0..100 {
                        let value = cache.get(Key::Plain(0, at), || {
                            made.fetch_add(1, Relaxed);
                            std::thread::yield_now();
                            Ok(vec![u8::try_from(at).unwrap()])
                        });
                        assert_eq!(u64::from(value.unwrap()[0]), at);
                    }
                });
            }
        });
        assert_eq!(made.into_inner(), 100);
    }

    #[test]
    fn what_is_taken_is_kept_no_longer() {
        let cache = Cache::new(1);
        assert!(cache.take::<Vec<u8>>(Key::Plain(0, 0)).is_none());
        frame(&cache, 0, 3);
        assert_eq!(cache.take::<Vec<u8>>(Key::Plain(0, 0)).unwrap().len(), 3);
        assert!(!has(&cache, 0));
        assert_eq!(cache.lock().weight, 0);
    }

    #[test]
    fn a_plan_is_carried_out_unless_somebody_was_faster() {
        let (cache, key, made) = (Cache::new(1), Key::Plain(0, 0), AtomicUsize::new(0));
        let make = || {
            made.fetch_add(1, Relaxed);
            Ok(vec![7])
        };
        assert!(cache.plan(key) && !cache.plan(key));
        cache.carry_out(key, make).unwrap();
        assert!(has(&cache, 0) && !cache.plan(key));
        cache.carry_out(key, make).unwrap();
        assert_eq!(made.load(Relaxed), 1, "it is here");
        cache.take::<Vec<u8>>(key).unwrap();
        // Who takes it makes it in another place.
        assert!(cache.plan(key) && cache.take::<Vec<u8>>(key).is_none());
        cache.carry_out(key, make).unwrap();
        assert_eq!(made.load(Relaxed), 1);
        assert!(cache.plan(key) && cache.get(key, make).is_ok());
        cache.carry_out(key, make).unwrap();
        assert_eq!(made.load(Relaxed), 2);
        cache.give_up(key);
        assert!(has(&cache, 0), "it was no plan any more");
    }

    #[test]
    fn a_failure_is_not_kept_and_nobody_waits_for_it() {
        let cache = Cache::new(1);
        let failing = || Err::<Vec<u8>, _>(Error::new(ErrorKind::Corrupt, "wrong"));
        assert!(cache.get(Key::Plain(0, 0), failing).is_err());
        assert_eq!(frame(&cache, 0, 3).len(), 3);
        let panics = || cache.get::<Vec<u8>>(Key::Plain(0, 1), || std::panic::panic_any("made so"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert_eq!(frame(&cache, 1, 4).len(), 4);
    }
}
