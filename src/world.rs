//! Clock and entropy: the only doors through which time and randomness enter the program.

use std::fmt;
use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The instant `seconds` after the epoch.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The instant `millis` milliseconds after the epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Whole seconds since the epoch (the unit of a JWT `NumericDate`, RFC 7519 §2).
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// How many milliseconds later than `other` this is; negative when it is earlier.
    #[must_use]
    pub fn ahead_of(self, other: Self) -> i64 {
        let signed = |millis| i64::try_from(millis).unwrap_or(i64::MAX);
        signed(self.0).saturating_sub(signed(other.0))
    }

    /// The instant `millis` milliseconds later, or earlier where that is negative.
    #[must_use]
    pub const fn shifted(self, millis: i64) -> Self {
        Self(self.0.saturating_add_signed(millis))
    }
}

impl Add<Duration> for UnixTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> UnixTime;
}

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door that the lint points everybody else to")]
    fn now(&self) -> UnixTime {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The operating system's random generator could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct EntropyError;

/// What the program may know of the world outside its inputs: the time, and randomness.
#[derive(Clone)]
pub struct World {
    clock: Arc<dyn Clock>,
    /// No further moment is before this one, in milliseconds.
    latest: Arc<AtomicU64>,
    /// How far the clock that moments are measured with is ahead of `clock`, in milliseconds.
    ahead: Arc<AtomicI64>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    /// The real world: the system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::with_clock(SystemClock)
    }

    /// A world whose time is told by `clock`.
    #[must_use]
    pub fn with_clock(clock: impl Clock + 'static) -> Self {
        Self { clock: Arc::new(clock), latest: Arc::default(), ahead: Arc::default() }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// The time now, or the latest moment that is known where the clock was set back.
    ///
    /// What has to be told apart by what came first is marked with moments, not with times (a hybrid logical clock). Moments
    /// are not ahead of the clock of their own accord, however often one is asked for.
    /// Where processes share their sessions, all of them measure moments with one clock ([`World::measure_with`]).
    #[must_use]
    pub fn moment(&self) -> UnixTime {
        let now = self.now().shifted(self.ahead.load(Ordering::Relaxed)).as_millis();
        UnixTime::from_millis(self.latest.fetch_max(now, Ordering::AcqRel).max(now))
    }

    /// The last moment of all that was; whatever is asked for from then on is later.
    #[must_use]
    pub fn end_moment(&self) -> UnixTime {
        let moment = self.moment();
        self.saw(moment);
        moment
    }

    /// Has all further moments be after `moment`, which another process gave, or this one before it ended.
    pub fn saw(&self, moment: UnixTime) {
        self.latest.fetch_max(moment.as_millis().saturating_add(1), Ordering::AcqRel);
    }

    /// Measures further moments with the clock that shows `shared` now, as other processes do.
    pub fn measure_with(&self, shared: UnixTime) {
        self.ahead.store(shared.ahead_of(self.now()), Ordering::Relaxed);
    }

    /// The latest moment that was given or seen, for a process that comes later ([`World::saw`]).
    #[must_use]
    pub fn latest(&self) -> UnixTime {
        UnixTime::from_millis(self.latest.load(Ordering::Acquire))
    }

    /// `N` bytes from the operating system's secure generator.
    ///
    /// # Errors
    ///
    /// When the generator cannot be read; nothing secret may be made then.
    pub fn random<const N: usize>(&self) -> Result<[u8; N], EntropyError> {
        let mut bytes = [0; N];
        getrandom::fill(&mut bytes).map_err(|_| EntropyError)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_added_and_compared_without_overflow() {
        let start = UnixTime::from_secs(10);
        assert_eq!((start + Duration::from_secs(5)).as_secs(), 15);
        assert_eq!(start.since(UnixTime::from_secs(12)), Duration::ZERO);
        assert_eq!(UnixTime::from_millis(u64::MAX) + Duration::from_secs(1), UnixTime::from_millis(u64::MAX));
    }

    struct Fixed(Arc<AtomicU64>);

    impl Clock for Fixed {
        fn now(&self) -> UnixTime {
            UnixTime::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn two_processes_measure_moments_with_one_clock() {
        let [right, fast, slow] =
            [100_000, 120_000, 80_000].map(|now| World::with_clock(Fixed(Arc::new(AtomicU64::new(now)))));
        for world in [&right, &fast, &slow] {
            world.measure_with(UnixTime::from_millis(100_000));
            assert_eq!(world.moment().as_millis(), 100_000);
            world.measure_with(UnixTime::from_millis(99_000));
            assert_eq!(world.moment().as_millis(), 100_000, "not backwards");
            assert_eq!(world.latest().as_millis(), 100_000);
        }
        assert_eq!(fast.now().as_millis(), 120_000);
        assert_eq!(UnixTime::from_millis(5).shifted(-7), UnixTime::default());
        assert_eq!(UnixTime::from_millis(u64::MAX).ahead_of(UnixTime::default()), i64::MAX);
    }

    #[test]
    fn moments_go_forward_whatever_the_clock_does() {
        let time = Arc::new(AtomicU64::new(1000));
        let world = World::with_clock(Fixed(Arc::clone(&time)));
        let at = |now| {
            time.store(now, Ordering::Relaxed);
            world.clone()
        };
        for (now, expected) in [(1000, 1000), (1000, 1000), (2000, 2000), (500, 2000), (1999, 2000), (3000, 3000)] {
            assert_eq!(at(now).moment().as_millis(), expected, "at {now}");
        }
        assert_eq!(at(2500).end_moment().as_millis(), 3000, "of all that was");
        assert_eq!(at(2500).moment().as_millis(), 3001, "later");
        assert_eq!(at(2500).end_moment().as_millis(), 3001);
        world.saw(UnixTime::from_millis(5000));
        world.saw(UnixTime::from_millis(4000));
        assert_eq!(at(3000).moment().as_millis(), 5001);
        assert_eq!(at(6000).moment().as_millis(), 6000);
        world.saw(UnixTime::from_millis(u64::MAX));
        assert_eq!(at(6000).end_moment().as_millis(), u64::MAX);
    }

    #[test]
    fn random_bytes_differ() {
        let world = World::system();
        assert_ne!(world.random::<32>().unwrap(), world.random::<32>().unwrap());
    }
}
