import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Replaces any of many phrases in one pass over the text (the Aho-Corasick automaton).
 *
 * <p>Problem: letters must be published without the names of several thousand people. Searching
 * each name separately reads the text thousands of times. The automaton reads each character
 * once: it is a trie of all phrases in which every node also has a "failure" link to the
 * longest proper suffix of the node's text that is in the trie too.
 *
 * <p>Only whole words match ("Ann" is not found in "Annual"), upper and lower case are the
 * same, and of overlapping matches the leftmost wins, then the longest.
 */
public final class PhraseRedactor {
    private static final class State {
        final Map<Character, State> next = new HashMap<>();
        State failure;
        State shorterMatch;  // nearest state on the failure chain that ends a phrase
        int phraseLength;    // 0 when no phrase ends here
    }

    /** A hit in the text, as a half-open range of positions. */
    public record Match(int start, int end) {}

    private final State root = new State();

    public PhraseRedactor(Collection<String> phrases) {
        for (String phrase : phrases) {
            if (phrase.isBlank()) throw new IllegalArgumentException("blank phrase");
            State state = root;
            for (char ch : fold(phrase).toCharArray()) {
                state = state.next.computeIfAbsent(ch, unused -> new State());
            }
            state.phraseLength = phrase.length();
        }
        linkFailures();
    }

    /** Case folding that keeps the length, so positions stay those of the original. */
    private static String fold(String text) {
        char[] chars = text.toCharArray();
        for (int i = 0; i < chars.length; i++) chars[i] = Character.toLowerCase(chars[i]);
        return new String(chars);
    }

    /** Breadth-first, because a failure link always points to a shallower state. */
    private void linkFailures() {
        Deque<State> queue = new ArrayDeque<>();
        for (State child : root.next.values()) {
            child.failure = root;
            queue.add(child);
        }
        while (!queue.isEmpty()) {
            State state = queue.remove();
            State failure = state.failure;
            state.shorterMatch = failure.phraseLength > 0 ? failure : failure.shorterMatch;
            state.next.forEach((ch, child) -> {
                child.failure = step(failure, ch);
                queue.add(child);
            });
        }
    }

    private State step(State from, char ch) {
        State state = from;
        while (state != root && !state.next.containsKey(ch)) state = state.failure;
        return state.next.getOrDefault(ch, root);
    }

    /** Every whole-word occurrence, including overlapping ones, in order of their ends. */
    public List<Match> findAll(String text) {
        List<Match> matches = new ArrayList<>();
        String folded = fold(text);
        State state = root;
        for (int i = 0; i < folded.length(); i++) {
            state = step(state, folded.charAt(i));
            State hit = state.phraseLength > 0 ? state : state.shorterMatch;
            for (; hit != null; hit = hit.shorterMatch) {
                int start = i + 1 - hit.phraseLength;
                if (isBoundary(folded, start) && isBoundary(folded, i + 1)) {
                    matches.add(new Match(start, i + 1));
                }
            }
        }
        return matches;
    }

    private static boolean isBoundary(String text, int position) {
        return position == 0 || position == text.length()
            || !Character.isLetterOrDigit(text.charAt(position - 1))
            || !Character.isLetterOrDigit(text.charAt(position));
    }

    /** Put the mask in place of every chosen match. */
    public String redact(String text, String mask) {
        List<Match> matches = findAll(text);
        matches.sort((a, b) -> a.start() != b.start()
            ? Integer.compare(a.start(), b.start()) : Integer.compare(b.end(), a.end()));
        StringBuilder out = new StringBuilder();
        int copied = 0;
        for (Match match : matches) {
            if (match.start() < copied) continue; // overlaps one already replaced
            out.append(text, copied, match.start()).append(mask);
            copied = match.end();
        }
        return out.append(text, copied, text.length()).toString();
    }

    private static void expect(String actual, String wanted) {
        System.out.println(actual);
        if (!actual.equals(wanted)) throw new AssertionError("wanted: " + wanted);
    }

    public static void main(String[] args) {
        PhraseRedactor redactor = new PhraseRedactor(
            List.of("Ann", "Ann Lee", "Lee Park", "Old Mill Road", "mill"));
        expect(redactor.redact("ANN wrote the annual report.", "[-]"),
            "[-] wrote the annual report.");
        expect(redactor.redact("Dear Ann Lee Park, dear Lee Park!", "[-]"),
            "Dear [-] Park, dear [-]!");
        expect(redactor.redact("Old mill by Old Mill Road", "#"), "Old # by #");
        expect(redactor.redact("nothing here", "#"), "nothing here");
        if (redactor.findAll("old mill road").size() != 2) throw new AssertionError("overlap");
        try {
            new PhraseRedactor(List.of("fine", "  "));
            throw new AssertionError("accepted a blank phrase");
        } catch (IllegalArgumentException expected) {
            System.out.println("refused: " + expected.getMessage());
        }
    }
}
