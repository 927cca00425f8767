import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.PriorityQueue;
import java.util.Random;

/**
 * A point quadtree: range search and nearest neighbours in the plane.
 *
 * <p>Problem: which charging stations lie in the visible part of a map, and which three are
 * nearest to the car? Testing all of them for every redraw does not scale. The tree divides the
 * area into four quarters whenever one holds too many points; whole quarters that cannot
 * contain an answer are skipped.
 *
 * @param <T> what is stored at a point
 */
public final class QuadTree<T> {
    private static final int LEAF_CAPACITY = 8;
    private static final int MAX_DEPTH = 24; // many items at one point must not split for ever

    /** A rectangle that contains its left and upper edges but not the other two. */
    public record Box(double x0, double y0, double x1, double y1) {
        public Box {
            if (x0 >= x1 || y0 >= y1) throw new IllegalArgumentException("empty box");
        }

        boolean contains(double x, double y) {
            return x >= x0 && x < x1 && y >= y0 && y < y1;
        }

        boolean overlaps(Box o) {
            return x0 < o.x1 && o.x0 < x1 && y0 < o.y1 && o.y0 < y1;
        }

        /** Squared distance from a point to the closest point of this box. */
        double distance2(double x, double y) {
            double dx = Math.max(0, Math.max(x0 - x, x - x1));
            double dy = Math.max(0, Math.max(y0 - y, y - y1));
            return dx * dx + dy * dy;
        }

        Box quarter(int index) {
            double mx = (x0 + x1) / 2;
            double my = (y0 + y1) / 2;
            return new Box(index % 2 > 0 ? mx : x0, index > 1 ? my : y0,
                index % 2 > 0 ? x1 : mx, index > 1 ? y1 : my);
        }
    }

    public record Item<T>(double x, double y, T value) {}

    private final Box box;
    private final int depth;
    private List<Item<T>> items = new ArrayList<>(); // null once the node is divided
    private final List<QuadTree<T>> quarters = new ArrayList<>(4);

    private QuadTree(Box box, int depth) {
        this.box = box;
        this.depth = depth;
    }

    public void add(double x, double y, T value) {
        if (!box.contains(x, y)) throw new IllegalArgumentException("outside the area");
        insert(new Item<>(x, y, value));
    }

    private void insert(Item<T> item) {
        if (items != null) {
            items.add(item);
            if (items.size() > LEAF_CAPACITY && depth < MAX_DEPTH) divide();
            return;
        }
        for (QuadTree<T> quarter : quarters) {
            if (quarter.box.contains(item.x(), item.y())) quarter.insert(item);
        }
    }

    private void divide() {
        List<Item<T>> moving = items;
        items = null;
        for (int i = 0; i < 4; i++) quarters.add(new QuadTree<>(box.quarter(i), depth + 1));
        moving.forEach(this::insert);
    }

    /** Append all items inside the window to the list. */
    public void search(Box window, List<Item<T>> found) {
        if (!box.overlaps(window)) return;
        if (items != null) {
            for (Item<T> i : items) if (window.contains(i.x(), i.y())) found.add(i);
        }
        for (QuadTree<T> quarter : quarters) quarter.search(window, found);
    }

    private record Candidate(double distance2, Object what) {}

    /** The nearest items, closest first: a best-first search over boxes and items. */
    @SuppressWarnings("unchecked")
    public List<Item<T>> nearest(double x, double y, int limit) {
        List<Item<T>> result = new ArrayList<>();
        PriorityQueue<Candidate> queue =
            new PriorityQueue<>(Comparator.comparingDouble(Candidate::distance2));
        queue.add(new Candidate(0, this));
        while (!queue.isEmpty() && result.size() < limit) {
            Object next = queue.poll().what();
            if (next instanceof Item<?> item) {
                result.add((Item<T>) item);
                continue;
            }
            QuadTree<T> node = (QuadTree<T>) next;
            for (QuadTree<T> q : node.quarters) queue.add(new Candidate(q.box.distance2(x, y), q));
            if (node.items == null) continue;
            for (Item<T> i : node.items) queue.add(new Candidate(distance2(i, x, y), i));
        }
        return result;
    }

    private static double distance2(Item<?> item, double x, double y) {
        return (item.x() - x) * (item.x() - x) + (item.y() - y) * (item.y() - y);
    }

    public static void main(String[] args) {
        QuadTree<Integer> tree = new QuadTree<>(new Box(0, 0, 100, 100), 0);
        List<Item<Integer>> all = new ArrayList<>();
        Random random = new Random(7);
        for (int i = 0; i < 2000; i++) {
            all.add(new Item<>(random.nextDouble() * 100, random.nextDouble() * 100, i));
        }
        for (int i = 0; i < 50; i++) all.add(new Item<>(25.0, 75.0, 5000 + i));
        all.forEach(i -> tree.add(i.x(), i.y(), i.value()));

        Box window = new Box(20, 70, 30, 90);
        List<Item<Integer>> found = new ArrayList<>();
        tree.search(window, found);
        long wanted = all.stream().filter(i -> window.contains(i.x(), i.y())).count();
        if (found.size() != wanted) throw new AssertionError("range search");
        all.sort(Comparator.comparingDouble(item -> distance2(item, 60, 40)));
        if (!tree.nearest(60, 40, 10).equals(all.subList(0, 10))) throw new AssertionError("near");
        System.out.println(found.size() + " items in the window; nearest items agree");
    }
}
