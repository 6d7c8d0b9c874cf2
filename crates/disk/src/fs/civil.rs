//! Dates as people write them, which ISO 9660 and UDF keep.

use super::Time;

/// Seconds since 1970 of a date and a time of day, `east` minutes east of Greenwich. `None` if there is no such
/// date.
pub(super) fn time(date: (i64, u8, u8), clock: (u8, u8, u8), east: i64) -> Option<Time> {
    let (year, month, day) = date;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || clock.0 > 23 || clock.1 > 59 || clock.2 > 60
    {
        return None;
    }
    // Years that begin in March, in cycles of 400, so that the leap day is the last one.
    let (month, day) = (i64::from(month), i64::from(day));
    let year = year.checked_sub(i64::from(month <= 2))?;
    let cycle = year.div_euclid(400);
    let in_cycle = year.rem_euclid(400);
    let from_march = month.checked_add(9)?.rem_euclid(12);
    let in_year =
        from_march.checked_mul(153)?.checked_add(2)?.div_euclid(5).checked_add(day)?.checked_sub(1)?;
    let leap_days = in_cycle.div_euclid(4).checked_sub(in_cycle.div_euclid(100))?;
    let days = in_cycle.checked_mul(365)?.checked_add(leap_days)?.checked_add(in_year)?;
    let days = cycle.checked_mul(146_097)?.checked_add(days)?.checked_sub(719_468)?;
    let minutes = days.checked_mul(1440)?.checked_add(i64::from(clock.0).checked_mul(60)?)?;
    let minutes = minutes.checked_add(clock.1.into())?.checked_sub(east)?;
    Some(Time { seconds: minutes.checked_mul(60)?.checked_add(clock.2.into())?, nanos: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_date_counts() {
        let seconds = |date, clock, east| time(date, clock, east).map(|time| time.seconds);
        assert_eq!(seconds((1970, 1, 1), (0, 0, 0), 0), Some(0));
        assert_eq!(seconds((2024, 2, 29), (12, 30, 5), 60), Some(1_709_206_205));
        assert_eq!(seconds((2000, 3, 1), (0, 0, 0), 0), Some(951_868_800));
        assert_eq!(seconds((1904, 1, 1), (0, 0, 0), 0), Some(-2_082_844_800));
        assert_eq!(seconds((2024, 13, 1), (0, 0, 0), 0), None);
        assert_eq!(seconds((2024, 1, 1), (24, 0, 0), 0), None);
    }
}
