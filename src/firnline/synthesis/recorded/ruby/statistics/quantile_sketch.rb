# frozen_string_literal: true

# Quantiles of an endless stream in bounded memory, with a guaranteed relative error.
#
# Problem: "95 % of all requests took less than ..." must be known for billions of requests on
# many machines. Values cannot be kept, and percentiles of percentiles mean nothing. The sketch
# counts values in buckets whose limits grow geometrically: bucket i holds values in
# (g ** (i - 1), g ** i]. With g = (1 + e) / (1 - e), the middle of a bucket differs from
# each of its values by at most the fraction e. Sketches of several machines are merged by
# adding counts, and the result is the same as if one machine had seen everything.
class QuantileSketch
  attr_reader :count, :accuracy

  # accuracy: greatest relative error; max_buckets: limit of memory.
  def initialize(accuracy: 0.01, max_buckets: 2048)
    raise ArgumentError, 'accuracy must be between 0 and 1' unless accuracy.between?(1e-6, 0.99)

    @accuracy = accuracy
    @max_buckets = max_buckets
    @growth = (1 + accuracy) / (1 - accuracy)
    @positive = Hash.new(0)
    @negative = Hash.new(0)
    @zeros = 0
    @count = 0
  end

  # Add a value, possibly several times; returns self, so that calls can be chained.
  def add(value, times = 1)
    raise ArgumentError, "cannot count #{value}" unless value.finite? && times.positive?

    if value.zero?
      @zeros += times
    else
      buckets = value.positive? ? @positive : @negative
      buckets[bucket_of(value.abs)] += times
      collapse(buckets)
    end
    @count += times
    self
  end
  alias << add

  # The value below which the fraction q of all values lies; nil without values.
  def quantile(fraction)
    raise ArgumentError, "#{fraction} is not a fraction" unless fraction.between?(0, 1)
    return nil if @count.zero?

    rank = fraction * (@count - 1)
    seen = 0
    each_bucket do |value, times|
      seen += times
      return value if seen > rank
    end
  end

  # Share of the values that are at most the limit: the inverse of quantile.
  def rank_of(limit)
    below = 0
    each_bucket { |value, times| below += times if value <= limit }
    @count.zero? ? 0.0 : below.fdiv(@count)
  end

  # Include everything that another sketch has counted.
  def merge(other)
    raise ArgumentError, 'accuracies do not fit' unless other.accuracy == accuracy

    positive, negative, zeros = other.parts
    [[@positive, positive], [@negative, negative]].each do |mine, theirs|
      theirs.each { |index, times| mine[index] += times }
      collapse(mine)
    end
    @zeros += zeros
    @count += other.count
    self
  end

  def bucket_count = @positive.size + @negative.size

  protected

  def parts = [@positive, @negative, @zeros]

  private

  def bucket_of(magnitude) = (Math.log(magnitude) / Math.log(@growth)).ceil

  # The representative that is within the accuracy of every value in the bucket.
  def value_of(index)
    2 * @growth**index / (@growth + 1)
  end

  # Yields representatives and counts from the smallest to the largest value.
  def each_bucket
    @negative.keys.sort.reverse_each { |i| yield(-value_of(i), @negative[i]) }
    yield(0.0, @zeros) if @zeros.positive?
    @positive.keys.sort.each { |i| yield(value_of(i), @positive[i]) }
  end

  # Too many buckets: those of the smallest magnitudes are joined, where errors matter least.
  def collapse(buckets)
    while buckets.size > @max_buckets
      smallest, target = buckets.keys.min(2)
      buckets[target] += buckets.delete(smallest)
    end
  end
end

if $PROGRAM_NAME == __FILE__
  random = Random.new(11)
  values = Array.new(20_000) { Math.exp(random.rand * 8 - 2) * (random.rand < 0.1 ? -1 : 1) }
  machines = Array.new(4) { QuantileSketch.new }
  values.each_with_index { |value, i| machines[i % 4] << value }
  total = machines.reduce(QuantileSketch.new) { |sum, sketch| sum.merge(sketch) }

  sorted = values.sort
  worst = [0.0, 0.01, 0.25, 0.5, 0.75, 0.95, 0.999, 1.0].map do |q|
    exact = sorted[(q * (sorted.size - 1)).floor]
    estimate = total.quantile(q)
    puts format('q=%-6g exact %10.4f estimated %10.4f', q, exact, estimate)
    ((estimate - exact) / exact).abs
  end.max
  puts format('worst error %.4f with %d buckets', worst, total.bucket_count)
  abort 'the error is too large' if worst > 0.01 + 1e-9
  abort 'values were lost' unless total.count == 20_000

  tiny = QuantileSketch.new.add(0.0, 3).add(-5).add(7)
  abort 'zeros' unless tiny.quantile(0.5).zero? && tiny.quantile(0).round(1) == -5.0
  abort 'rank' unless tiny.rank_of(1) == 0.8
  abort 'empty' unless QuantileSketch.new.quantile(0.5).nil?
  small = QuantileSketch.new(max_buckets: 10)
  (1..1000).each { |n| small << n }
  abort 'memory limit' unless small.bucket_count == 10 && (small.quantile(1) - 1000).abs <= 10
  begin
    tiny.merge(QuantileSketch.new(accuracy: 0.05))
    abort 'merged sketches that do not fit'
  rescue ArgumentError => e
    puts e.message
  end
end
