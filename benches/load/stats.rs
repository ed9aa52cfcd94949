//! Numbers that may be believed: medians with intervals, from chance that is the same in every run.

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2000;

/// A source of numbers for choices, not for secrets (splitmix64); the same seed gives the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Begins at `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        // The high half of the product: no division, and no bias that a benchmark could see.
        let scaled = (u128::from(mixed) * bound as u128) >> 64;
        usize::try_from(scaled).unwrap_or_default()
    }
}

/// A median and where it lies with 95 % certainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// The median.
    pub(crate) median: f64,
    /// The lower end.
    pub(crate) low: f64,
    /// The upper end.
    pub(crate) high: f64,
}

impl Estimate {
    /// Of one number for each cycle, by bootstrap over the cycles; `None` without any.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let mut dice = Dice::new(4);
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let mut sample: Vec<f64> = values.iter().map(|_| values[dice.below(values.len())]).collect();
                quantile(&mut sample, 500)
            })
            .collect();
        let median = quantile(&mut values.to_vec(), 500);
        Some(Self { median, low: quantile(&mut medians, 25), high: quantile(&mut medians, 975) })
    }

    /// A single reading.
    pub(crate) const fn exactly(value: f64) -> Self {
        Self { median: value, low: value, high: value }
    }

    /// Whether it is a single reading.
    pub(crate) fn is_exact(self) -> bool {
        self.low.total_cmp(&self.high).is_eq()
    }

    /// The same in another unit.
    pub(crate) fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self { median: change(self.median), low: change(self.low), high: change(self.high) }
    }
}

/// The value below which `per_mille` of a thousand lie; `values` are sorted by it, and there is at least one.
pub(crate) fn quantile(values: &mut [f64], per_mille: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let scaled = (values.len() - 1) * per_mille;
    let (at, rest) = (scaled / 1000, scaled % 1000);
    let upper = values[(at + 1).min(values.len() - 1)];
    values[at] + (upper - values[at]) * as_f64(rest as u64) / 1000.0
}

/// A count as a number to calculate with; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds of one run lie far below 2^53")]
pub(crate) const fn as_f64(count: u64) -> f64 {
    count as f64
}

/// What must hold wherever the benchmark is to be believed.
pub(crate) fn self_check() {
    assert!((quantile(&mut [3.0, 1.0, 2.0], 500) - 2.0).abs() < 1e-9);
    assert!((quantile(&mut [1.0, 2.0], 500) - 1.5).abs() < 1e-9);
    let estimate = Estimate::of(&[1.0; 5]).expect("there are values");
    assert_eq!(estimate, Estimate { median: 1.0, low: 1.0, high: 1.0 });
    assert_eq!(Estimate::of(&[]), None);
    let mut dice = Dice::new(1);
    assert!((0..1000).all(|_| dice.below(7) < 7));
}
