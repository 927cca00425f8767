# frozen_string_literal: true

# Choose an ordering policy for a warehouse by simulation with common random numbers.
#
# Problem: order when the stock falls to s, and fill up to S. Small s loses sales, large s
# costs storage. The cost has no simple formula when deliveries take a random time, so many
# days are simulated. All policies are tried on the SAME random demand; differences between
# them are then due to the policy and not to luck, and far fewer runs are needed. The
# uncertainty of a difference is estimated with the bootstrap.

Policy = Struct.new(:reorder_at, :fill_to)
Costs = Struct.new(:per_order, :per_unit_day, :per_lost_sale, keyword_init: true)

# Demand and delivery times of one run, drawn in advance from a seed.
class Scenario
  attr_reader :demands, :delays # days until an order placed on a day arrives

  def initialize(seed, days:, mean_demand:)
    random = Random.new(seed)
    @demands = Array.new(days) { poisson(mean_demand, random) }
    @delays = Array.new(days) { random.rand(2..6) }
  end

  private

  # Knuth's method: count how many uniform factors fit above exp(-mean).
  def poisson(mean, random)
    limit = Math.exp(-mean)
    product = random.rand
    count = 0
    while product > limit
      product *= random.rand
      count += 1
    end
    count
  end
end

# Plays one scenario under one policy.
class Warehouse
  attr_reader :lost, :orders

  def initialize(policy, costs)
    raise ArgumentError, 'impossible policy' unless policy.fill_to > policy.reorder_at

    @policy = policy
    @costs = costs
    @stock = policy.fill_to
    @arriving = Hash.new(0) # day => units
    @lost = @orders = @stored = 0
  end

  # Returns the mean cost per day.
  def run(scenario)
    scenario.demands.each_with_index do |demand, day|
      @stock += @arriving.delete(day) || 0
      sold = [demand, @stock].min
      @lost += demand - sold
      @stock -= sold
      @stored += @stock
      order(day, scenario.delays[day])
    end
    total_cost.fdiv(scenario.demands.size)
  end

  private

  # What is under way counts as stock; otherwise the same gap would be ordered every day.
  def order(day, delay)
    position = @stock + @arriving.values.sum
    return if position > @policy.reorder_at

    @arriving[day + delay] += @policy.fill_to - position
    @orders += 1
  end

  def total_cost
    @orders * @costs.per_order + @stored * @costs.per_unit_day + @lost * @costs.per_lost_sale
  end
end

# Runs all policies on the same scenarios and compares them with the best.
class Comparison
  attr_reader :results

  def initialize(policies, costs, scenarios)
    @results = policies.to_h do |policy|
      [policy, scenarios.map { |scenario| Warehouse.new(policy, costs).run(scenario) }]
    end
  end

  def best
    @results.min_by { |_, costs| mean(costs) }.first
  end

  # A 95 % interval for the extra cost of a policy over the best one. Each bootstrap round
  # draws scenarios with replacement; pairs stay together.
  def extra_cost(policy, rounds: 500, seed: 99)
    random = Random.new(seed)
    differences = @results[policy].zip(@results[best]).map { |a, b| a - b }
    means = Array.new(rounds) do
      mean(differences.map { differences.sample(random: random) })
    end
    means.sort.values_at((rounds * 0.025).floor, (rounds * 0.975).ceil - 1)
  end

  def mean(numbers)
    numbers.sum.fdiv(numbers.size)
  end
end

if $PROGRAM_NAME == __FILE__
  costs = Costs.new(per_order: 30, per_unit_day: 0.1, per_lost_sale: 8)
  scenarios = (1..40).map { |seed| Scenario.new(seed, days: 300, mean_demand: 6) }
  policies = [10, 25, 40, 55, 70].map { |level| Policy.new(level, level + 60) }
  comparison = Comparison.new(policies, costs, scenarios)
  policies.each do |policy|
    low, high = comparison.extra_cost(policy)
    average = comparison.mean(comparison.results[policy])
    puts format('from %2d to %3d: %6.2f per day, extra cost %5.2f to %5.2f',
                *policy.to_a, average, low, high)
  end
  puts "best policy: #{comparison.best.to_a}"

  abort 'extremes cannot be best' unless [25, 40, 55].include?(comparison.best.reorder_at)
  abort 'significance' unless comparison.extra_cost(policies.first).min.positive?
  abort 'best against itself' unless comparison.extra_cost(comparison.best) == [0.0, 0.0]
  demands = scenarios.flat_map(&:demands)
  abort 'demand' unless (comparison.mean(demands) - 6).abs < 0.1
  again = Scenario.new(1, days: 300, mean_demand: 6)
  abort 'not repeatable' unless again.demands == scenarios.first.demands
  begin
    Warehouse.new(Policy.new(50, 50), costs)
    abort 'accepted an impossible policy'
  rescue ArgumentError => e
    puts e.message
  end
end
