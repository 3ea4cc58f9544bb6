# picture.gnuplot -- the table of `make bench` as an SVG: a bar a row, a mark for what it has to reach
# data: number, what, ratio, goal or NaN; separated by tabs
set datafile separator "\t"
stats data using 1 nooutput
set terminal svg size 1100,(90 + 27 * STATS_max) dynamic font "sans-serif,13" background "white"
set logscale x
set xrange [0.1:200]
set yrange [STATS_max + 0.7:0.3]
set xlabel "ratio, logarithmic"
set grid xtics
set border 1
set ytics nomirror scale 0
set xtics nomirror
set lmargin 74
set key bottom right
plot data using (0.1):1:(0.1):3:($1 - 0.32):($1 + 0.32):ytic(2) with boxxyerror fill solid 0.7 noborder lc rgb "#4477aa" title "egress : beside", \
     data using 4:1:(0):(0.42) with vectors nohead lw 3 lc rgb "#cc3311" notitle, \
     data using 4:1:(0):(-0.42) with vectors nohead lw 3 lc rgb "#cc3311" title "at least"
