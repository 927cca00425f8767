import java.time.DayOfWeek;
import java.time.LocalDate;
import java.time.Month;
import java.time.MonthDay;
import java.time.temporal.TemporalAdjusters;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.IntFunction;

/**
 * Working-day arithmetic with holidays that are computed, not listed.
 *
 * <p>Problem: "payable within ten working days" depends on weekends and on holidays, some at a
 * fixed date, some on "the last Monday of May", some relative to Easter. The calendar holds
 * rules, expands them for a year on first use, and keeps the result. Counting takes whole weeks
 * at once and corrects for holidays, so long periods stay cheap.
 */
public final class WorkCalendar {
    /** A named rule that yields the date of a holiday in a given year. */
    private record Rule(String name, IntFunction<LocalDate> dateIn) {}

    private final Set<DayOfWeek> weekend;
    private final List<Rule> rules = new ArrayList<>();
    private final Map<Integer, TreeMap<LocalDate, String>> years = new HashMap<>();

    public WorkCalendar(Set<DayOfWeek> weekend) {
        if (weekend.size() == 7) throw new IllegalArgumentException("a week without work");
        this.weekend = Set.copyOf(weekend);
    }

    public WorkCalendar fixed(String name, int month, int day) {
        MonthDay date = MonthDay.of(month, day);
        return add(name, date::atYear);
    }

    /** The n-th given weekday of a month; n = -1 means the last one. */
    public WorkCalendar nth(String name, int n, DayOfWeek weekday, Month month) {
        return add(name, year -> LocalDate.of(year, month, 1)
            .with(TemporalAdjusters.dayOfWeekInMonth(n, weekday)));
    }

    public WorkCalendar relativeToEaster(String name, int days) {
        return add(name, year -> easterSunday(year).plusDays(days));
    }

    private WorkCalendar add(String name, IntFunction<LocalDate> dateIn) {
        rules.add(new Rule(name, dateIn));
        years.clear();
        return this;
    }

    /** Easter in the Gregorian calendar: the Sunday after the first spring full moon. */
    static LocalDate easterSunday(int year) {
        int century = year / 100;
        int golden = year % 19;
        int moonShift = (century - century / 4 - (8 * century + 13) / 25 + 19 * golden + 15) % 30;
        int moon = moonShift - (moonShift / 28) * (1 - (29 / (moonShift + 1))
            * ((21 - golden) / 11));
        int weekday = (year + year / 4 + moon + 2 - century + century / 4) % 7;
        return LocalDate.of(year, Month.MARCH, 28).plusDays(moon - weekday);
    }

    /** The holidays of a year by date; two on one day are joined by a slash. */
    public TreeMap<LocalDate, String> holidays(int year) {
        return years.computeIfAbsent(year, y -> {
            TreeMap<LocalDate, String> map = new TreeMap<>();
            for (Rule rule : rules) {
                map.merge(rule.dateIn().apply(y), rule.name(), (a, b) -> a + " / " + b);
            }
            return map;
        });
    }

    public boolean isWorkday(LocalDate date) {
        return !weekend.contains(date.getDayOfWeek())
            && !holidays(date.getYear()).containsKey(date);
    }

    /** Working days in the half-open range from {@code from} up to {@code to}. */
    public long countBetween(LocalDate from, LocalDate to) {
        if (to.isBefore(from)) return -countBetween(to, from);
        long weeks = (to.toEpochDay() - from.toEpochDay()) / 7;
        long count = weeks * (7 - weekend.size());
        for (LocalDate d = from.plusWeeks(weeks); d.isBefore(to); d = d.plusDays(1)) {
            if (!weekend.contains(d.getDayOfWeek())) count++;
        }
        for (int year = from.getYear(); year <= to.getYear(); year++) {
            for (LocalDate holiday : holidays(year).keySet()) {
                boolean inside = !holiday.isBefore(from) && holiday.isBefore(to);
                if (inside && !weekend.contains(holiday.getDayOfWeek())) count--;
            }
        }
        return count;
    }

    /** The date that lies {@code days} working days after (or, if negative, before). */
    public LocalDate plusWorkdays(LocalDate date, int days) {
        int step = Integer.signum(days);
        LocalDate result = date;
        for (int left = Math.abs(days); left > 0;) {
            result = result.plusDays(step);
            if (isWorkday(result)) left--;
        }
        return result;
    }

    private static void expect(Object actual, Object wanted) {
        if (!actual.equals(wanted)) throw new AssertionError(actual + " instead of " + wanted);
    }

    public static void main(String[] args) {
        WorkCalendar calendar = new WorkCalendar(EnumSet.of(DayOfWeek.SATURDAY, DayOfWeek.SUNDAY))
            .fixed("New Year", 1, 1)
            .relativeToEaster("Good Friday", -2)
            .relativeToEaster("Easter Monday", 1)
            .nth("Spring holiday", -1, DayOfWeek.MONDAY, Month.MAY)
            .fixed("Christmas Day", 12, 25)
            .fixed("Second Christmas Day", 12, 26);
        calendar.holidays(2024).forEach((date, name) -> System.out.println(date + "  " + name));

        expect(easterSunday(2024), LocalDate.of(2024, 3, 31));
        expect(easterSunday(2025), LocalDate.of(2025, 4, 20));
        expect(easterSunday(1981), LocalDate.of(1981, 4, 19));
        LocalDate invoice = LocalDate.of(2024, 3, 27);
        expect(calendar.plusWorkdays(invoice, 2), LocalDate.of(2024, 4, 2));
        expect(calendar.plusWorkdays(LocalDate.of(2024, 4, 2), -2), invoice);
        expect(calendar.countBetween(invoice, LocalDate.of(2024, 4, 2)), 2L);
        expect(calendar.countBetween(LocalDate.of(2025, 1, 1), LocalDate.of(2024, 1, 1)), -256L);
        System.out.println("due on " + calendar.plusWorkdays(invoice, 10));
    }
}
