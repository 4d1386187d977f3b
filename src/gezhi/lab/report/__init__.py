"""The report: one offline HTML file in two languages, made of a record and the reference run beside it."""

from gezhi.lab.report.render import render as render
from gezhi.lab.report.render import write_report as write_report
