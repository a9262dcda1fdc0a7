"""The reports' words in both languages."""

from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {
    "report": ("Report", "成绩报告"),
    "class_report": ("Class report", "班级报告"),
    "students": ("Students", "学生"),
    "count": ("Students", "人数"),
    "student": ("Student", "学生"),
    "name": ("Name", "姓名"),
    "overview": ("{graded} graded", "已评分 {graded} 份"),
    "overview_not": ("{not_graded} not graded", "未能评分 {not_graded} 份"),
    "overview_waiting": ("{waiting} handed in and not graded yet", "已提交、尚未评分 {waiting} 份"),
    "overview_missing": ("{missing} handed in nothing", "未提交 {missing} 人"),
    "overview_mean": ("mean of the {graded} graded {mean}, median {median}, of {points} points",
                      "已评分的 {graded} 份平均 {mean} 分，中位数 {median} 分，满分 {points} 分"),
    "overview_whole": ("{graded} graded, mean {mean}, median {median}, of {points} points",
                       "已评分 {graded} 份，平均 {mean} 分，中位数 {median} 分，满分 {points} 分"),
    "waiting": ("Handed in, not graded yet", "已提交，尚未评分"),
    "waiting_note": ("Grading was stopped: go on with the same minillm class grade, then write this page "
                     "again.", "评分曾中断：请用同一条 minillm class grade 命令继续，然后重新生成本页。"),
    "older": ("(the marks here are of an older file)", "（本页的分数来自旧文件）"),
    "not_graded": ("Not graded", "未能评分"),
    "missing": ("Nothing handed in", "未提交"),
    "score": ("Score", "得分"),
    "points": ("points", "分"),
    "distribution": ("Distribution", "分数分布"),
    "distribution_alt": ("How many students scored in each tenth of the points",
                         "各分数段（每段为总分的十分之一）的学生人数"),
    "tests": ("Tests", "测试"),
    "test": ("Test", "测试"),
    "kind": ("Kind", "类别"),
    "public": ("public", "公开"),
    "hidden": ("hidden", "隐藏"),
    "failed": ("Failed", "未通过"),
    "mean_points": ("Mean points", "平均得分"),
    "how": ("How", "原因"),
    "mistakes": ("What they got wrong alike", "共同的错误"),
    "singles": ("What one student alone got wrong", "只有一名学生出现的错误"),
    "mistake": ("Likely cause", "可能的原因"),
    "who": ("Who", "学生"),
    "in_tests": ("In tests", "涉及的测试"),
    "no_mistakes": ("No cause was recognised.", "没有识别出共同的原因。"),
    "why": ("Why", "原因"),
    "time": ("Time", "用时"),
    "time_all": ("grading took {all:.0f} s of work; the longest, {student}, {most:.1f} s",
                 "评分共用 {all:.0f} 秒；最长的是 {student}，{most:.1f} 秒"),
    "layers": ("Protections", "防护"),
    "layers_note": ("What kept the students' programs from the rest of the machine, and for how many of the "
                    "{ran} that were run",
                    "下列措施把学生的程序与机器的其余部分隔开；后面是在运行过的 {ran} 份提交中生效的份数"),
    "layers_rest": ("; {rest} had nothing to run", "；另有 {rest} 份没有可运行的代码"),
    "no_layers": ("No protection was active: grade only work that you have read.",
                  "没有任何防护生效：只应评阅您读过的代码。"),
    "notes": ("Notes", "备注"),
    "printed": ("What programs printed (the beginning)", "程序打印的内容（开头部分）"),
    "printed_note": ("Not in the students' own reports: a program can print what hidden tests give it.",
                     "学生自己的报告里没有这一部分：程序可以把隐藏测试的数据打印出来。"),
    "line": ("line {}", "第 {} 行"),
    "passed": ("passed", "通过"),
    "in_part": ("in part", "部分通过"),
    "wrong": ("wrong", "结果不对"),
    "exception": ("error", "出错"),
    "not_written": ("not written", "尚未编写"),
    "too_slow": ("out of time", "超时"),
    "memory": ("out of memory", "内存不足"),
    "crashed": ("crashed", "崩溃"),
    "ended": ("ended Python", "退出了 Python"),
    "forged": ("not an answer", "回复无效"),
    "too_much_output": ("printed too much", "输出过多"),
    "syntax": ("not Python", "语法错误"),
    "not_run": ("not run", "未运行"),
    "slow": ("right, but slow", "正确但较慢"),
    "no_function": ("missing", "缺少函数"),
    "hint": ("Numbers differ from student to student; hidden tests' numbers are not shown.",
             "每位学生的测试数据各不相同；隐藏测试的数据不公开。"),
    "person": ("A person decides: look at the work before you act on a report.",
               "最终由教师判断：依据报告采取行动之前，请先看作业本身。"),
}
KIND_WORDS = {"missing": "no_function"}


def word(key: str, lang: str) -> str:
    """The word for `key`."""
    return WORDS[key][lang == "zh"]


def kind_word(kind: str, lang: str) -> str:
    """What became of a test, in a word."""
    return word(KIND_WORDS.get(kind, kind), lang)
