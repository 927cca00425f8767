// Assign people to shifts at the lowest total cost (minimum-cost flow).
//
// Problem: every volunteer states how inconvenient each shift is; shifts need a number of
// people, and nobody may work more than a given number of shifts. Giving each shift its
// cheapest volunteer greedily can leave a later shift without anybody. As a flow from a source
// through people and shifts to a sink, the best plan is found by repeatedly sending one unit
// along the cheapest path; a path may also run BACK through an earlier decision and undo it.
#include <iostream>
#include <limits>
#include <map>
#include <queue>
#include <stdexcept>
#include <string>
#include <vector>

class FlowNetwork {
public:
    explicit FlowNetwork(int nodes) : outgoing_(nodes) {}

    // Returns the number of the edge; its reverse edge has the number plus one.
    int add_edge(int from, int to, int capacity, int cost) {
        const int id = static_cast<int>(edges_.size());
        edges_.push_back({to, capacity, cost});
        edges_.push_back({from, 0, -cost});
        outgoing_[from].push_back(id);
        outgoing_[to].push_back(id + 1);
        return id;
    }

    int flow_on(int edge) const { return edges_[edge + 1].room; }

    struct Result { int flow = 0; long cost = 0; };

    // Send as much as possible from source to sink, at the lowest cost for that amount.
    Result run(int source, int sink) {
        Result total;
        while (true) {
            const std::vector<int> via = cheapest_path(source);
            if (via[sink] < 0) return total;
            for (int v = sink; v != source; v = edges_[via[v] ^ 1].to) {
                edges_[via[v]].room -= 1;
                edges_[via[v] ^ 1].room += 1;
                total.cost += edges_[via[v]].cost;
            }
            ++total.flow;
        }
    }

private:
    struct Edge { int to, room, cost; };

    // Bellman-Ford with a queue, since undoing edges have negative cost. Returns the edge by
    // which each node is reached best, or -1.
    std::vector<int> cheapest_path(int source) const {
        const long far = std::numeric_limits<long>::max();
        std::vector<long> distance(outgoing_.size(), far);
        std::vector<int> via(outgoing_.size(), -1);
        std::vector<bool> waiting(outgoing_.size(), false);
        std::queue<int> queue({source});
        distance[source] = 0;
        for (; !queue.empty(); queue.pop()) {
            const int node = queue.front();
            waiting[node] = false;
            for (int id : outgoing_[node]) {
                const Edge& e = edges_[id];
                if (e.room == 0 || distance[node] + e.cost >= distance[e.to]) continue;
                distance[e.to] = distance[node] + e.cost;
                via[e.to] = id;
                if (!waiting[e.to]) queue.push(e.to);
                waiting[e.to] = true;
            }
        }
        return via;
    }

    std::vector<Edge> edges_;
    std::vector<std::vector<int>> outgoing_;
};

struct Volunteer {
    std::string name;
    int max_shifts;
    std::map<std::string, int> inconvenience;  // shifts that are missing are impossible
};
using Roster = std::map<std::string, std::vector<std::string>>;

// The cheapest roster; throws when some shift cannot be filled.
Roster make_roster(const std::vector<Volunteer>& people, const std::map<std::string, int>& shifts,
                   long& cost) {
    const int source = 0, sink = 1, first_shift = 2 + static_cast<int>(people.size());
    FlowNetwork network(first_shift + static_cast<int>(shifts.size()));
    std::map<std::string, int> node;
    int needed = 0;
    for (const auto& [shift, count] : shifts) {
        node[shift] = first_shift + static_cast<int>(node.size());
        network.add_edge(node[shift], sink, count, 0);
        needed += count;
    }
    struct Option { int edge; std::string person, shift; };
    std::vector<Option> options;
    for (std::size_t p = 0; p < people.size(); ++p) {
        const int person = 2 + static_cast<int>(p);
        network.add_edge(source, person, people[p].max_shifts, 0);
        for (const auto& [shift, burden] : people[p].inconvenience) {
            if (node.count(shift) == 0) continue;
            const int edge = network.add_edge(person, node[shift], 1, burden);
            options.push_back({edge, people[p].name, shift});
        }
    }
    const auto [flow, total] = network.run(source, sink);
    if (flow < needed) throw std::runtime_error(std::to_string(needed - flow) + " places empty");
    cost = total;
    Roster roster;
    for (const Option& o : options) {
        if (network.flow_on(o.edge) > 0) roster[o.shift].push_back(o.person);
    }
    return roster;
}

int main() {
    const std::vector<Volunteer> people = {
        {"Ines", 1, {{"morning", 1}, {"noon", 2}}},
        {"Omar", 2, {{"morning", 2}, {"noon", 9}, {"night", 3}}},
        {"Pia", 1, {{"morning", 3}, {"night", 8}}},
    };
    long cost = 0;
    const Roster roster = make_roster(people, {{"morning", 2}, {"noon", 1}, {"night", 1}}, cost);
    for (const auto& [shift, names] : roster) {
        for (const auto& name : names) std::cout << shift << ": " << name << '\n';
    }
    std::cout << "total inconvenience " << cost << '\n';
    // Greedy would give Ines the morning; then noon costs 9. The best plan costs 2+2+3+3.
    if (cost != 10 || roster.at("noon").front() != "Ines") return 1;
    try {
        make_roster(people, {{"noon", 3}}, cost);
        return 2;
    } catch (const std::exception& problem) {
        std::cout << "impossible: " << problem.what() << '\n';
    }
}
