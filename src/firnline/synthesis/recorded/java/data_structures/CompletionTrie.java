import java.util.ArrayList;
import java.util.List;
import java.util.PriorityQueue;
import java.util.TreeMap;

/**
 * Word completion that returns the most popular words for a prefix first.
 *
 * <p>Problem: a search box must suggest the k best of perhaps a million phrases for each key
 * stroke. Collecting and sorting every phrase below a prefix is too slow for short prefixes.
 * Each trie node therefore stores the best weight found anywhere beneath it. A best-first
 * search expands nodes in the order of this bound, so only branches that can still contribute
 * are visited, and the first k complete words that leave the queue are the answer.
 */
public final class CompletionTrie {
    private static final class Node {
        final TreeMap<Character, Node> children = new TreeMap<>();
        long weight;      // 0 when no word ends here
        long bestBelow;   // largest weight in this subtree, this node included
    }

    /** A suggestion together with the weight that ranks it. */
    public record Completion(String word, long weight) {}

    /** An item of the search: a subtree that may hold words, or one complete word. */
    private record Candidate(String text, Node node, long bound, boolean complete)
            implements Comparable<Candidate> {
        @Override
        public int compareTo(Candidate other) {
            if (bound != other.bound) return Long.compare(other.bound, bound);
            int byText = text.compareTo(other.text);
            return byText != 0 ? byText : Boolean.compare(other.complete, complete);
        }
    }

    private final Node root = new Node();
    private int size;
    private int lastVisited;

    /** Set the weight of a word; zero removes it. Returns the previous weight. */
    public long put(String word, long weight) {
        if (word.isEmpty()) throw new IllegalArgumentException("empty word");
        if (weight < 0) throw new IllegalArgumentException("negative weight: " + weight);
        List<Node> path = new ArrayList<>();
        path.add(root);
        Node node = root;
        for (char ch : word.toCharArray()) {
            node = node.children.computeIfAbsent(ch, unused -> new Node());
            path.add(node);
        }
        long before = node.weight;
        node.weight = weight;
        size += (weight > 0 ? 1 : 0) - (before > 0 ? 1 : 0);
        for (int i = path.size() - 1; i >= 0; i--) {
            refresh(path.get(i));
            if (i > 0 && path.get(i).bestBelow == 0) {
                path.get(i - 1).children.remove(word.charAt(i - 1));
            }
        }
        return before;
    }

    /** Recompute the bound of one node from its own weight and its children. */
    private static void refresh(Node node) {
        long best = node.weight;
        for (Node child : node.children.values()) best = Math.max(best, child.bestBelow);
        node.bestBelow = best;
    }

    public int size() {
        return size;
    }

    /** At most {@code limit} words that start with the prefix, best first, ties by word. */
    public List<Completion> complete(String prefix, int limit) {
        List<Completion> found = new ArrayList<>();
        lastVisited = 0;
        Node start = root;
        for (char ch : prefix.toCharArray()) {
            start = start.children.get(ch);
            if (start == null) return found;
        }
        PriorityQueue<Candidate> queue = new PriorityQueue<>();
        queue.add(new Candidate(prefix, start, start.bestBelow, false));
        while (!queue.isEmpty() && found.size() < limit) {
            Candidate next = queue.poll();
            if (next.complete()) {
                found.add(new Completion(next.text(), next.bound()));
                continue;
            }
            lastVisited++;
            Node node = next.node();
            if (node.weight > 0) {
                queue.add(new Candidate(next.text(), node, node.weight, true));
            }
            node.children.forEach((ch, child) ->
                queue.add(new Candidate(next.text() + ch, child, child.bestBelow, false)));
        }
        return found;
    }

    private static void check(boolean condition, String what) {
        if (!condition) throw new AssertionError(what);
    }

    public static void main(String[] args) {
        CompletionTrie trie = new CompletionTrie();
        String[] words = {"tea", "team", "teal", "ten", "tent", "tunnel", "turnip", "apple"};
        long[] weights = {50, 80, 5, 50, 20, 95, 1, 70};
        for (int i = 0; i < words.length; i++) trie.put(words[i], weights[i]);

        for (Completion c : trie.complete("te", 3)) {
            System.out.printf("%-8s %d%n", c.word(), c.weight());
        }
        check(trie.complete("t", 2).get(0).word().equals("tunnel"), "best word first");
        check(trie.complete("te", 3).stream().map(Completion::word).toList()
            .equals(List.of("team", "tea", "ten")), "ties in alphabetical order");

        check(trie.put("team", 0) == 80, "removal reports the old weight");
        check(trie.size() == words.length - 1, "size follows removals");
        check(trie.complete("team", 5).isEmpty(), "removed words are gone");
        check(trie.complete("x", 5).isEmpty(), "an unknown prefix has no completions");

        for (int i = 0; i < 5000; i++) trie.put("tz" + Integer.toString(i * 7919, 36), 1 + i % 9);
        trie.complete("t", 1);
        check(trie.lastVisited < 20, "thousands of light words are never looked at");
        System.out.println("visited " + trie.lastVisited + " of " + trie.size() + " words");
    }
}
